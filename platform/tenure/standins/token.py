"""A minimal ERC-20 token for development chains, assembled here: no compiler and nobody else's contract.

It has `transfer`, `balanceOf` and `decimals`, and emits the standard Transfer event. An account's balance
lies in the storage slot that has the account's number, so a chain's operator can set any balance directly.
"""

from __future__ import annotations

from typing import Final

DECIMALS: Final = 6
SYMBOL: Final = "USDC"
ADDRESS: Final = "0x7e57000000000000000000000000000000007e57"
TRANSFER_TOPIC: Final = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
TRANSFER_SELECTOR: Final = "a9059cbb"
BALANCE_OF_SELECTOR: Final = "70a08231"
DECIMALS_SELECTOR: Final = "313ce567"

_OPCODES: Final = {
    "ADD": "01", "SUB": "03", "LT": "10", "EQ": "14", "SHR": "1c", "CALLER": "33", "CALLDATALOAD": "35",
    "POP": "50", "MSTORE": "52", "SLOAD": "54", "SSTORE": "55", "JUMP": "56", "JUMPI": "57", "JUMPDEST": "5b",
    "PUSH0": "5f", "DUP1": "80", "DUP2": "81", "DUP3": "82", "SWAP1": "90", "LOG3": "a3", "RETURN": "f3",
    "REVERT": "fd",
}  # fmt: skip

# `:name` marks a place, `@name` pushes it; hexadecimal is pushed as it is. Comments show the stack, top last.
_SOURCE: Final = f"""
    PUSH0 CALLDATALOAD e0 SHR                  ; selector
    DUP1 {TRANSFER_SELECTOR} EQ @transfer JUMPI
    DUP1 {BALANCE_OF_SELECTOR} EQ @balance JUMPI
    DUP1 {DECIMALS_SELECTOR} EQ @decimals JUMPI
    PUSH0 PUSH0 REVERT
    :decimals {DECIMALS:02x} @answer JUMP
    :balance 04 CALLDATALOAD SLOAD @answer JUMP
    :transfer 24 CALLDATALOAD CALLER SLOAD     ; amount have
    DUP2 DUP2 LT @poor JUMPI
    DUP2 SWAP1 SUB CALLER SSTORE               ; amount
    04 CALLDATALOAD DUP1 SLOAD DUP3 ADD        ; amount to sum
    DUP2 SSTORE                                ; amount to
    SWAP1 PUSH0 MSTORE                         ; to, amount in memory
    CALLER {TRANSFER_TOPIC.removeprefix("0x")} 20 PUSH0 LOG3
    01 @answer JUMP
    :answer PUSH0 MSTORE 20 PUSH0 RETURN
    :poor PUSH0 PUSH0 REVERT
"""


def bytecode() -> str:
    """The token's code as it lies on the chain, `0x…`."""
    places: dict[str, int] = {}
    code = ""
    for _ in range(2):  # the first pass finds the places, the second writes them
        code = ""
        for word in _words(_SOURCE):
            code += _assembled(word, len(code) // 2, places)
    return "0x" + code


def _words(source: str) -> list[str]:
    return [word for line in source.splitlines() for word in line.partition(";")[0].split()]


def _assembled(word: str, offset: int, places: dict[str, int]) -> str:
    if word.startswith(":"):
        places[word[1:]] = offset
        return _OPCODES["JUMPDEST"]
    if word.startswith("@"):
        return f"60{places.get(word[1:], 0):02x}"
    if word in _OPCODES:
        return _OPCODES[word]
    return f"{0x5F + len(word) // 2:02x}{word}"


def transfer_data(to: str, amount_units: int) -> str:
    """The call data of `transfer(to, amount)`."""
    return f"0x{TRANSFER_SELECTOR}{to.removeprefix('0x').lower():0>64}{amount_units:064x}"


def slot_of(account: str) -> str:
    """The storage slot that holds the account's balance."""
    return "0x" + account.removeprefix("0x").lower().rjust(64, "0")
