"""What the JSON files hold. Plain data: no torch, no network."""

from steer_llama.records.answers import Pair, Response, Result
from steer_llama.records.asked import Demonstration, Elicitation, InstructionPair, Split, Trait, Turn
from steer_llama.records.base import Message, Record, SplitName, as_json
from steer_llama.records.chat import ChatFailure, ChatReply, ChatRequest, TokenChoice, TokenStep
from steer_llama.records.monitored import Averages, Axis, Monitored, MonitoredMessage, MonitoredText, Part
from steer_llama.records.steers import GateOn, Steer, SteerMode, SteerWhere
from steer_llama.records.trials import Arm, Spot, Trial
from steer_llama.records.verdict import (
    AntiSteered,
    Comparison,
    Condition,
    Fidelity,
    Interval,
    Measured,
    TestArm,
    Verdict,
)

__all__ = [
    "AntiSteered",
    "Arm",
    "Averages",
    "Axis",
    "ChatFailure",
    "ChatReply",
    "ChatRequest",
    "Comparison",
    "Condition",
    "Demonstration",
    "Elicitation",
    "Fidelity",
    "GateOn",
    "InstructionPair",
    "Interval",
    "Measured",
    "Message",
    "Monitored",
    "MonitoredMessage",
    "MonitoredText",
    "Pair",
    "Part",
    "Record",
    "Response",
    "Result",
    "Split",
    "SplitName",
    "Spot",
    "Steer",
    "SteerMode",
    "SteerWhere",
    "TestArm",
    "TokenChoice",
    "TokenStep",
    "Trait",
    "Trial",
    "Turn",
    "Verdict",
    "as_json",
]
