"""What web3.py sends of the usual work of a wallet."""

import json
import os
from pathlib import Path

from web3 import HTTPProvider, Web3

account = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
contract = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
headers = {"content-type": "application/json"}
if os.environ.get("RPC_TOKEN"):
    headers["authorization"] = "Bearer " + Path(os.environ["RPC_TOKEN"]).read_text().strip()
options = {"headers": headers, "verify": os.environ.get("RPC_CA") or True}
w3 = Web3(HTTPProvider(os.environ["RPC_URL"], request_kwargs=options, exception_retry_configuration=None))


def batch():
    with w3.batch_requests() as asked:
        asked.add(w3.eth.get_block(0))
        asked.add(w3.eth.get_balance(account))
        asked.execute()


for step in [
    lambda: w3.eth.chain_id,
    lambda: w3.eth.block_number,
    lambda: w3.eth.get_balance(account),
    lambda: w3.eth.get_block("latest", True),
    lambda: w3.eth.gas_price,
    lambda: w3.eth.get_transaction_count(account, "pending"),
    lambda: w3.eth.get_code(contract),
    lambda: w3.eth.get_storage_at(contract, 0),
    lambda: w3.eth.call({"to": contract, "data": "0x70a08231"}),
    lambda: w3.eth.estimate_gas({"from": account, "to": contract, "value": 1}),
    lambda: w3.eth.get_logs({"fromBlock": 0, "toBlock": "latest", "address": contract}),
    lambda: w3.eth.get_transaction_receipt("0x" + "22" * 32),
    lambda: w3.eth.send_raw_transaction("0xf86c80"),
    lambda: w3.net.version,
    lambda: w3.client_version,
    batch,
]:
    try:
        step()
    except Exception as error:  # what the client refuses is as good as what it answers: it was asked
        if os.environ.get("VERBOSE"):
            print(type(error).__name__, error)


def told(answer):
    error = answer.get("error")
    return {"error": error["message"]} if error else {"result": answer.get("result")}


for calls in json.loads(os.environ.get("RPC_BATCHES", "[]")):
    answers = w3.provider.make_batch_request([(method, params) for method, params in calls])
    print("mixed", json.dumps({"way": "http", "calls": calls, "got": [told(answer) for answer in answers]}))
