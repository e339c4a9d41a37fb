//! What a hostile body is made of: members of an object, byte by byte, of which one names a method that its
//! caller may not call.

use crate::dice::Dice;

/// Granted methods, with params.
const OPEN: [(&str, &str); 4] =
    [("eth_chainId", "[]"), ("eth_blockNumber", "[]"), ("net_version", "[]"), ("web3_clientVersion", "[]")];

/// Methods that are not granted and leave no trace but that they ran.
const MARKERS: [(&str, &str); 12] = [
    ("personal_listAccounts", "[]"),
    ("personal_listWallets", "[]"),
    ("admin_peers", "[]"),
    ("admin_nodeInfo", "[]"),
    ("admin_datadir", "[]"),
    ("debug_gcStats", "[]"),
    ("miner_stop", "[]"),
    ("txpool_status", "[]"),
    ("rpc_modules", "[]"),
    ("web3_sha3", "[\"0x6d61726b6572\"]"),
    ("eth_accounts", "[]"),
    ("eth_pendingTransactions", "[]"),
];

/// Whether a method may be executed. All others that payloads name may not.
pub(crate) fn is_open(method: &str) -> bool {
    OPEN.iter().any(|(open, _)| *open == method)
}

/// A name and a value, as they stand between the quotes and after the colon.
pub(crate) type Member = (Vec<u8>, Vec<u8>);

/// An object before it is written.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) members: Vec<Member>,
}

pub(crate) fn member(name: &str, value: impl AsRef<[u8]>) -> Member {
    (name.as_bytes().to_vec(), value.as_ref().to_vec())
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

pub(crate) fn open(dice: &mut Dice) -> (&'static str, &'static str) {
    dice.one_of(&OPEN)
}

pub(crate) fn marker(dice: &mut Dice) -> (&'static str, &'static str) {
    dice.one_of(&MARKERS)
}

/// The name in other letters, at least one of them.
pub(crate) fn other_case(name: &str, dice: &mut Dice) -> String {
    loop {
        let mixed: String =
            name.chars().map(|c| if dice.percent(50) { c.to_ascii_uppercase() } else { c }).collect();
        if mixed != name {
            return mixed;
        }
    }
}

impl Draft {
    /// A call in the usual order; some have no id, some no params.
    pub(crate) fn call(method: &str, params: &str, dice: &mut Dice) -> Self {
        let mut members = vec![member("jsonrpc", "\"2.0\"")];
        if dice.percent(90) {
            members.push(member("id", dice.below(1000).to_string()));
        }
        members.push(member("method", quoted(method)));
        if params != "[]" || dice.percent(70) {
            members.push(member("params", params));
        }
        Self { members }
    }

    /// A call that is granted.
    pub(crate) fn granted(dice: &mut Dice) -> Self {
        let (method, params) = open(dice);
        Self::call(method, params, dice)
    }

    /// A call that is not, without any disguise.
    pub(crate) fn plain(dice: &mut Dice) -> Self {
        let (method, params) = marker(dice);
        Self::call(method, params, dice)
    }

    /// A granted call in which the method is named once more, in other letters: the client takes the last.
    pub(crate) fn shadowed(dice: &mut Dice) -> Self {
        let (method, params) = marker(dice);
        let mut draft = Self::call(open(dice).0, params, dice);
        let shadow = member(&other_case("method", dice), quoted(method));
        let after = draft.at("method") + 1;
        let free = (draft.members.len() + 1 - after) as u64;
        draft.members.insert(after + dice.below(free) as usize, shadow);
        draft
    }

    /// A call in which the method is named twice in the same letters.
    pub(crate) fn twin(dice: &mut Dice) -> Self {
        let (method, params) = marker(dice);
        let mut draft = Self::call(open(dice).0, params, dice);
        let twin = member("method", quoted(method));
        let at = draft.at("method") + usize::from(dice.percent(80));
        draft.members.insert(at, twin);
        draft
    }

    /// One of those three.
    pub(crate) fn any(dice: &mut Dice) -> Self {
        match dice.below(6) {
            0 => Self::plain(dice),
            1 | 2 => Self::twin(dice),
            _ => Self::shadowed(dice),
        }
    }

    /// Where the first member of a name is, whatever its letters; where there is none, the last.
    pub(crate) fn at(&self, name: &str) -> usize {
        let found = self.members.iter().position(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        found.unwrap_or(self.members.len() - 1)
    }

    /// One of its members.
    pub(crate) fn some(&mut self, dice: &mut Dice) -> &mut Member {
        let at = dice.below(self.members.len() as u64) as usize;
        &mut self.members[at]
    }

    pub(crate) fn shuffle(&mut self, dice: &mut Dice) {
        for last in (1..self.members.len()).rev() {
            self.members.swap(last, dice.below(last as u64 + 1) as usize);
        }
    }

    /// Its bytes, token by token: braces, names, colons, values, commas.
    pub(crate) fn tokens(&self) -> Vec<Vec<u8>> {
        let mut tokens = vec![b"{".to_vec()];
        for (index, (name, value)) in self.members.iter().enumerate() {
            if index > 0 {
                tokens.push(b",".to_vec());
            }
            tokens.extend([[b"\"", &name[..], b"\""].concat(), b":".to_vec(), value.clone()]);
        }
        tokens.push(b"}".to_vec());
        tokens
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.tokens().concat()
    }
}
