"""A plan in words: the answer, and the arithmetic as lines that can be checked by hand."""

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from steer_llama.stages.plan import Plan

Line = tuple[str, str, str]
"""What it is, how it is computed, what it comes to."""


def answer(plan: "Plan") -> Text:
    """Fits or not, in how long, and what follows."""
    where = plan.device.name if plan.device.name == "cpu" else f"{plan.count} × {plan.device.name}"
    head = f"{plan.shape.name} in {plan.dtype} on {where}, {plan.text.pairs:,} pairs"
    room = f"{_gib(plan.fullest.total)} of {plan.device.memory_gib:.1f} GiB"
    duration, file = _time(plan.seconds.total), _bytes(plan.file.total)
    if plan.fits:
        told = Text.assemble(
            ("fits: yes", "bold green"), f" ({room}{_on_each(plan)}); about {duration}; a file of {file}"
        )
    else:
        told = Text.assemble(("fits: no", "bold red"), f" (needs {room}{_on_each(plan)}); {_instead(plan)}")
    lines = [Text(head, style="bold"), told]
    if plan.count > 1 and plan.parallel == "layers":
        divided = plan.shape.kv_heads % plan.count == 0 and any(block.sharded for block in plan.shape.blocks)
        both = "; --parallel tensor gives both" if divided else ""
        lines.append(Text(f"The layers run one after another: {plan.count} GPUs give memory, not speed{both}."))
    if plan.fits and plan.smallest_count and plan.smallest_count < plan.count:
        lines.append(Text(f"The fewest that it fits on: {plan.smallest_count} × {plan.device.name}."))
    return Text("\n").join(lines)


def arithmetic(plan: "Plan") -> Table:
    """Every number, section by section."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    sections = (
        ("the model", "", _model(plan)),
        ("the text", "", _text(plan)),
        ("the memory", "of the fullest GPU" if plan.count > 1 else "", _memory(plan)),
        ("the time", "", _seconds(plan)),
        ("the file", "", _file(plan)),
    )
    for name, more, lines in sections:
        table.add_row()
        table.add_row(Text(name, style="cyan"), Text(more, style="cyan"))
        for what, how, result in lines:
            table.add_row(Text(f"  {what}"), Text(how), Text(result, style="bold" if what == "in all" else ""))
    return table


def _model(plan: "Plan") -> list[Line]:
    shape = plan.shape
    sizes = {block.parameters for block in shape.blocks}
    blocks = f"{shape.n_layers} blocks × {min(sizes):,}"
    if len(sizes) > 1:
        blocks = f"{shape.n_layers} blocks ({min(sizes):,} to {max(sizes):,} each)"
    head = "lm_head tied" if shape.lm_head is None else f"lm_head {shape.lm_head.parameters:,}"
    parts = f"{blocks} + embeddings {shape.embeddings.parameters:,} + {head} + others {shape.rest.parameters:,}"
    heads = f"{shape.heads} heads × {shape.head_dim}, {shape.kv_heads} of keys and values"
    lines = [
        ("shape", f"{shape.architecture}: {shape.width:,} wide, {heads}, MLP {shape.mlp_width:,}", ""),
        ("parameters", parts, f"{shape.parameters:,}"),
        (
            "weights",
            f"{shape.parameters:,} × {_item(plan)} bytes ({plan.dtype}: {plan.dtype_reason})",
            _bytes(_weights(plan)),
        ),
    ]
    if shape.experts:
        lines.insert(1, ("experts", "that a token is sent to, of all in a block", "{} of {}".format(*shape.experts)))
    return lines


def _text(plan: "Plan") -> list[Line]:
    text = plan.text
    shared = text.conversations - text.computed
    alone = (
        f"{text.conversations:,} in {2 * text.pairs:,} conversations − {shared:,} of common beginnings, computed once"
    )
    return [("pairs", text.origin, f"{text.pairs:,}"), ("tokens computed", alone, f"{text.computed:,}")]


def _memory(plan: "Plan") -> list[Line]:
    shape, full, item = plan.shape, plan.fullest, _item(plan)
    split = plan.together
    tokens = max(plan.token_budget, plan.text.longest)
    heads = f"{shape.kv_heads // split} heads × {shape.head_dim}"
    whose = (
        f"1/{split} of every block" if split > 1 else f"{full.blocks} of {shape.n_layers} blocks, and what is beside"
    )
    inside = max(4 * shape.mlp_width, (3 * shape.heads + 4 * shape.kv_heads) * shape.head_dim)
    block = f"{2 * item + 4} × {shape.width:,} + {item} × {inside:,}{f' / {split}' if split > 1 else ''}"
    base = "PyTorch itself" if plan.device.name == "cpu" else "CUDA context"
    pairs = f"{plan.pairs_per_pass} pairs a pass × 2 arms × {plan.positions} positions × {plan.layers} layers"
    return [
        ("weights", f"{whose}: {full.weights // item:,} × {item} bytes", _gib(full.weights)),
        (
            "keys, values",
            f"at most {tokens:,} tokens × 2 × {heads} × {item} bytes × {full.blocks} blocks",
            _gib(full.keys_values),
        ),
        ("activations", f"{plan.token_budget:,} tokens × ({block}) bytes, a block at work", _gib(full.activations)),
        ("sums", f"{pairs} × {shape.width:,} × 4 bytes × {full.blocks}/{shape.n_layers}", _gib(full.sums)),
        ("margin", f"{base}, workspace, what the allocator cannot use", _gib(full.margin)),
        ("in all", f"of {plan.device.memory_gib:.1f} GiB", _gib(full.total)),
    ]


def _seconds(plan: "Plan") -> list[Line]:
    shape, text, work, seconds = plan.shape, plan.text, plan.work, plan.seconds
    item, device, together = _item(plan), plan.device, plan.together
    speed = f"{plan.tflops:.3g} TFLOP/s ({plan.tflops_reason}) × {plan.mfu:.2f} ({plan.mfu_reason})"
    attention = f"4 × {shape.heads * shape.head_dim:,} × {work.blocks} blocks × {text.context:,} (what the tokens see)"
    lines = [
        ("matrices", f"2 × {work.active:,} in {work.blocks} blocks × {text.computed:,} tokens", _tflop(work.matrices)),
        ("attention", attention, _tflop(work.attention)),
        ("arithmetic", f"{_tflop(work.flops)} ÷ ({speed} × {together} at a time)", _time(seconds.arithmetic)),
    ]
    if device.bandwidth:
        held = sum(block.parameters for block in shape.blocks[: work.blocks]) * item
        way = f"{plan.passes:,} passes × {_bytes(held)} ÷ ({device.bandwidth:,.0f} GB/s × {together})"
        lines.append(("weights' way", f"{way}, beside the arithmetic", _time(seconds.weights)))
    if together > 1:
        sums = f"2 sums × {work.blocks} blocks × {text.computed:,} × {shape.width:,} × {item} bytes"
        way = f"{sums} × 2 × {together - 1}/{together} ÷ {device.link:,.0f} GB/s"
        lines.append(("exchange", way, _time(seconds.exchange)))
    lines += [
        ("loading", f"{_bytes(_weights(plan))} ÷ {plan.disk:g} GB/s (--disk)", _time(seconds.load)),
        ("writing", f"{_bytes(plan.file.total)} ÷ {plan.disk:g} GB/s", _time(seconds.write)),
        ("in all", "the slower of arithmetic and weights' way, and the rest", _time(seconds.total)),
    ]
    return lines


def _file(plan: "Plan") -> list[Line]:
    shape, text, file = plan.shape, plan.text, plan.file
    rows = f"{text.pairs:,} pairs × 2 arms × {plan.layers} layers"
    lines = [
        ("means", f"{rows} × {plan.positions} positions × {shape.width:,} × 4 bytes", _bytes(file.means)),
        ("norms", f"{rows} × 4 bytes", _bytes(file.norms)),
    ]
    if file.tokens:
        each = f"{text.response:,} response tokens × {plan.layers} layers × {shape.width:,} × {_item(plan)} bytes"
        lines.append(("tokens", each, _bytes(file.tokens)))
    every = f"not kept: {text.response:,} response tokens × {shape.n_layers} layers × {shape.width:,} × 4 bytes"
    return [
        *lines,
        ("in all", "", _bytes(file.total)),
        ("every token", f"{every} ({file.every_token / file.total:.1f} × the file)", _bytes(file.every_token)),
    ]


def _instead(plan: "Plan") -> str:
    if plan.device.name == "cpu":
        return "it does not fit in this machine's memory"
    if plan.smallest_count is None:
        return f"no number of {plan.device.name} is enough with --parallel {plan.parallel}"
    return f"the fewest that it fits on: {plan.smallest_count} × {plan.device.name}"


def _on_each(plan: "Plan") -> str:
    return " on the fullest" if plan.count > 1 else ""


def _item(plan: "Plan") -> int:
    return 4 if plan.dtype == "float32" else 2


def _weights(plan: "Plan") -> int:
    return plan.shape.parameters * _item(plan)


def _tflop(flops: int) -> str:
    return f"{flops / 1e12:,.1f} TFLOP"


def _gib(number: int) -> str:
    return f"{number / 2**30:.2f} GiB"


def _bytes(number: int) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 1e3:.1f} kB"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
