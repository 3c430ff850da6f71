"""The functions and events of PoCo that are used, as signatures."""

from __future__ import annotations

from typing import Final

APP_ORDER: Final = "(address,uint256,uint256,bytes32,address,address,address,bytes32,bytes)"
DATASET_ORDER: Final = APP_ORDER
WORKERPOOL_ORDER: Final = (
    "(address,uint256,uint256,bytes32,uint256,uint256,address,address,address,bytes32,bytes)"
)
REQUEST_ORDER: Final = (
    "(address,uint256,address,uint256,address,uint256,address,uint256,bytes32,uint256,uint256,"
    "address,address,string,bytes32,bytes)"
)
FOUR_ORDERS: Final = f"({APP_ORDER},{DATASET_ORDER},{WORKERPOOL_ORDER},{REQUEST_ORDER})"

# What the hub is asked to do.
MATCH_ORDERS: Final = f"matchOrders{FOUR_ORDERS}"
SPONSOR_MATCH_ORDERS: Final = f"sponsorMatchOrders{FOUR_ORDERS}"
INITIALIZE: Final = "initialize(bytes32,uint256)"
INITIALIZE_ARRAY: Final = "initializeArray(bytes32[],uint256[])"
CONTRIBUTE: Final = "contribute(bytes32,bytes32,bytes32,address,bytes,bytes)"
REVEAL: Final = "reveal(bytes32,bytes32)"
FINALIZE: Final = "finalize(bytes32,bytes,bytes)"
CONTRIBUTE_AND_FINALIZE: Final = (
    "contributeAndFinalize(bytes32,bytes32,bytes,bytes,address,bytes,bytes)"
)
REOPEN: Final = "reopen(bytes32)"
CLAIM: Final = "claim(bytes32)"
CLAIM_ARRAY: Final = "claimArray(bytes32[])"
INITIALIZE_AND_CLAIM_ARRAY: Final = "initializeAndClaimArray(bytes32[],uint256[])"
WITHDRAW: Final = "withdraw(uint256)"
DEPOSIT_NATIVE: Final = "deposit()"
MANAGE_APP_ORDER: Final = f"manageAppOrder(({APP_ORDER},uint8,bytes))"
MANAGE_DATASET_ORDER: Final = f"manageDatasetOrder(({DATASET_ORDER},uint8,bytes))"
MANAGE_WORKERPOOL_ORDER: Final = f"manageWorkerpoolOrder(({WORKERPOOL_ORDER},uint8,bytes))"
MANAGE_REQUEST_ORDER: Final = f"manageRequestOrder(({REQUEST_ORDER},uint8,bytes))"

# What other contracts are asked to do.
CREATE_APP: Final = "createApp(address,string,string,bytes,bytes32,bytes)"
CREATE_DATASET: Final = "createDataset(address,string,bytes,bytes32)"
CREATE_WORKERPOOL: Final = "createWorkerpool(address,string)"
CHANGE_POLICY: Final = "changePolicy(uint256,uint256)"
TRANSFER: Final = "transfer(address,uint256)"
APPROVE_AND_CALL: Final = "approveAndCall(address,uint256,bytes)"

# What is read.
VIEW_DEAL: Final = "viewDeal(bytes32)"
VIEW_TASK: Final = "viewTask(bytes32)"
VIEW_CONTRIBUTION: Final = "viewContribution(bytes32,address)"
VIEW_ACCOUNT: Final = "viewAccount(address)"
VIEW_SCORE: Final = "viewScore(address)"
VIEW_CATEGORY: Final = "viewCategory(uint256)"
COUNT_CATEGORY: Final = "countCategory()"
VIEW_CONSUMED: Final = "viewConsumed(bytes32)"
VIEW_PRESIGNED: Final = "viewPresigned(bytes32)"
VIEW_APP: Final = "viewApp(address)"
VIEW_DATASET: Final = "viewDataset(address)"
VIEW_WORKERPOOL: Final = "viewWorkerpool(address)"
RESULT_FOR: Final = "resultFor(bytes32)"
TOKEN: Final = "token()"
APP_REGISTRY: Final = "appregistry()"
DATASET_REGISTRY: Final = "datasetregistry()"
WORKERPOOL_REGISTRY: Final = "workerpoolregistry()"
CALLBACK_GAS: Final = "callbackgas()"
TEE_BROKER: Final = "teebroker()"
DOMAIN_SEPARATOR: Final = "eip712domain_separator()"
IS_REGISTERED: Final = "isRegistered(address)"
BALANCE_OF: Final = "balanceOf(address)"

_ASSET: Final = "(address,address,uint256)"
DEAL: Final = (
    f"({_ASSET},{_ASSET},{_ASSET},uint256,uint256,bytes32,address,address,address,string,"
    "uint256,uint256,uint256,uint256,uint256,address)"
)
TASK: Final = (
    "(uint8,bytes32,uint256,uint256,uint256,uint256,uint256,bytes32,uint256,uint256,"
    "address[],bytes32,bytes,uint256,bytes)"
)
CONTRIBUTION: Final = "(uint8,bytes32,bytes32,address,uint256)"
ACCOUNT: Final = "(uint256,uint256)"
CATEGORY: Final = "(string,string,uint256)"
APP: Final = "(address,string,string,bytes,bytes32,bytes)"
DATASET: Final = "(address,string,bytes,bytes32)"
WORKERPOOL: Final = "(address,string,uint256,uint256)"

# What is listened to. The number of indexed parameters, which come first in all of them, is in
# the table of `logs`.
SCHEDULER_NOTICE: Final = "SchedulerNotice(address,bytes32)"
ORDERS_MATCHED: Final = "OrdersMatched(bytes32,bytes32,bytes32,bytes32,bytes32,uint256)"
TASK_INITIALIZE: Final = "TaskInitialize(bytes32,address)"
TASK_CONTRIBUTE: Final = "TaskContribute(bytes32,address,bytes32)"
TASK_CONSENSUS: Final = "TaskConsensus(bytes32,bytes32)"
TASK_REVEAL: Final = "TaskReveal(bytes32,address,bytes32)"
TASK_REOPEN: Final = "TaskReopen(bytes32)"
TASK_FINALIZE: Final = "TaskFinalize(bytes32,bytes)"
TASK_CLAIMED: Final = "TaskClaimed(bytes32)"
ACCURATE_CONTRIBUTION: Final = "AccurateContribution(address,bytes32)"
FAULTY_CONTRIBUTION: Final = "FaultyContribution(address,bytes32)"
LOCK: Final = "Lock(address,uint256)"
UNLOCK: Final = "Unlock(address,uint256)"
REWARD: Final = "Reward(address,uint256,bytes32)"
SEIZE: Final = "Seize(address,uint256,bytes32)"
TRANSFERRED: Final = "Transfer(address,address,uint256)"
