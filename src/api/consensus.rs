//! The consensus of a network, and who runs its nodes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pattern of an account's address.
const ADDRESS: &str = "^0x[0-9a-fA-F]{40}$";

/// The consensus of a network.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.validators) && has(self.validatorAddresses))")
        .message("state either validators or validatorAddresses")
)]
pub struct Consensus {
    /// Engine of the network, `QBFT` or `IBFT`; the genesis must name the same. Immutable.
    #[serde(rename = "type")]
    pub engine: Engine,

    /// How many validators the network has in all, 1 to 1000, where some of them live elsewhere: so many may
    /// be away at once as the consensus can lose. No more than the genesis names, if it does: state `validatorAddresses` once
    /// others were voted in. Default: as many as the genesis names; where a contract names them, as many as this namespace has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub validators: Option<i32>,

    /// Addresses of the network's present validators, each 0x and 40 hexadecimal digits; instead of `validators`. Default: those
    /// that the genesis names. State them once validators were voted in or out, since the genesis does not change then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(max = 1000), inner(length(max = 42), regex(pattern = ADDRESS)))]
    pub validator_addresses: Vec<String>,

    /// Who runs the network's nodes: `ThirdParty` when other organisations run some of them,
    /// `SingleOperator` when nobody else does: `tls.trust` and `transactionManager.peers`, which name
    /// other organisations, are then refused.
    pub operators: Operators,
}

/// Byzantine fault tolerant engines of GoQuorum.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Engine {
    /// The recommended engine.
    #[serde(rename = "QBFT")]
    Qbft,
    /// Its predecessor.
    #[serde(rename = "IBFT")]
    Ibft,
}

/// Who runs a network's nodes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Operators {
    /// Several organisations.
    ThirdParty,
    /// One organisation.
    SingleOperator,
}
