"""What web3.py sends over a WebSocket: messages are binary unless it is asked for text."""

import asyncio
import json
import os
import ssl
from pathlib import Path

from web3 import AsyncWeb3, WebSocketProvider

account = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
contract = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
options = {}
if os.environ.get("RPC_TOKEN"):
    token = Path(os.environ["RPC_TOKEN"]).read_text().strip()
    options["additional_headers"] = {"authorization": "Bearer " + token}
if os.environ.get("RPC_CA"):
    options["ssl"] = ssl.create_default_context(cafile=os.environ["RPC_CA"])


def told(answer):
    error = answer.get("error")
    return {"error": error["message"]} if error else {"result": answer.get("result")}


async def mixed(provider, way):
    for calls in json.loads(os.environ.get("RPC_BATCHES", "[]")):
        try:
            answers = await provider.make_batch_request([(method, params) for method, params in calls])
            got = [told(answer) for answer in answers]
        except Exception as error:
            got = [{"error": f"{type(error).__name__}: {error}"}] * len(calls)
        print("mixed", json.dumps({"way": way, "calls": calls, "got": got}))


async def work(w3):
    eth = w3.eth
    for step in [
        lambda: eth.chain_id,
        lambda: eth.block_number,
        lambda: eth.get_balance(account),
        lambda: eth.get_block("latest", True),
        lambda: eth.gas_price,
        lambda: eth.get_transaction_count(account, "pending"),
        lambda: eth.get_code(contract),
        lambda: eth.get_storage_at(contract, 0),
        lambda: eth.call({"to": contract, "data": "0x70a08231"}),
        lambda: eth.estimate_gas({"from": account, "to": contract, "value": 1}),
        lambda: eth.get_logs({"fromBlock": 0, "toBlock": "latest", "address": contract}),
        lambda: eth.get_transaction_receipt("0x" + "22" * 32),
        lambda: eth.send_raw_transaction("0xf86c80"),
        lambda: w3.net.version,
        lambda: w3.client_version,
    ]:
        try:
            await step()
        except Exception as error:  # what the client refuses is as good as what it answers: it was asked
            if os.environ.get("VERBOSE"):
                print(type(error).__name__, error)


async def main():
    for is_text in [False, True]:
        # what is never answered must not hang
        provider = WebSocketProvider(
            os.environ["RPC_WS"],
            websocket_kwargs=options,
            use_text_frames=is_text,
            request_timeout=10,
            max_connection_retries=1,
        )
        try:
            async with AsyncWeb3(provider) as w3:
                await work(w3)
                await mixed(provider, "websocket, text" if is_text else "websocket, binary")
        except Exception as error:
            print("the socket failed:", type(error).__name__, error)


asyncio.run(main())
