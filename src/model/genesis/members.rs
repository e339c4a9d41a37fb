//! Typed access to the members of a genesis, with the types that the client decodes them into.

use std::fmt::Display;

use super::{
    json::{Json, Members},
    quantity::Quantity,
};

/// Maximum number of faults in a message: a list of accounts may be wrong in every line.
const MAX_FAULTS: usize = 8;

/// Faults of a genesis, each with member, value and what to do.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<String>);

impl Faults {
    /// Adds a member with a wrong value.
    pub(super) fn wrong(&mut self, member: &str, value: impl Display, remedy: impl Display) {
        self.0.push(format!("`{member}` is {value}: {remedy}"));
    }

    /// Adds a fault with a message of its own.
    pub(super) fn say(&mut self, fault: impl Into<String>) {
        self.0.push(fault.into());
    }

    /// The faults joined into one text; `None` where there are none.
    pub(super) fn summary(&self) -> Option<String> {
        let shown: Vec<_> = self.0.iter().take(MAX_FAULTS).map(String::as_str).collect();
        let rest = self.0.len().saturating_sub(MAX_FAULTS);
        let rest = if rest == 0 { String::new() } else { format!("; and {rest} more") };
        (!shown.is_empty()).then(|| shown.join("; ") + &rest)
    }
}

/// An object of the genesis.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    /// Its path, such as `config.qbft`; empty for the genesis itself.
    path: &'a str,
    members: &'a Members,
}

impl<'a> Section<'a> {
    pub(super) fn new(path: &'a str, members: &'a Members) -> Self {
        Self { path, members }
    }

    /// The full path of a member.
    pub(super) fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Every member with its name as written.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'a str, &'a Json)> + use<'a> {
        self.members.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members.given(name).next().is_some()
    }

    /// Whether a member is absent or null.
    pub(super) fn is_absent(&self, name: &str) -> bool {
        self.members.given(name).all(|value| *value == Json::Null)
    }

    /// The value of a member, null included.
    fn value(&self, name: &str, faults: &mut Faults) -> Option<&'a Json> {
        let mut given = self.members.given(name);
        let (first, rest) = (given.next(), given.count());
        if rest > 0 {
            faults.say(format!(
                "`{}` occurs {} times, and the client does not say which of the values it uses: leave only one",
                self.path(name),
                rest + 1
            ));
        }
        first
    }

    /// The value of a member. Like the client, it treats null as absent.
    fn given(&self, name: &str, faults: &mut Faults) -> Option<&'a Json> {
        self.value(name, faults).filter(|value| **value != Json::Null)
    }

    /// The value of a member with the given type; adds a fault where it has another type.
    fn typed<T>(
        &self,
        name: &str,
        faults: &mut Faults,
        (read, remedy): (impl Fn(&'a Json) -> Option<T>, &str),
    ) -> Option<T> {
        let value = self.given(name, faults)?;
        let typed = read(value);
        if typed.is_none() {
            faults.wrong(&self.path(name), value, remedy);
        }
        typed
    }

    /// A JSON number, such as a block, seconds or a size.
    pub(super) fn whole(&self, name: &str, faults: &mut Faults) -> Option<u64> {
        let read = |value: &Json| if let Json::Whole(number) = value { Some(*number) } else { None };
        self.typed(
            name,
            faults,
            (read, "write a whole decimal number from 0 to 18446744073709551615, without quotes"),
        )
    }

    pub(super) fn flag(&self, name: &str, faults: &mut Faults) -> Option<bool> {
        let read = |value: &Json| if let Json::Flag(flag) = value { Some(*flag) } else { None };
        self.typed(name, faults, (read, "write true or false, without quotes"))
    }

    pub(super) fn text(&self, name: &str, faults: &mut Faults) -> Option<&'a str> {
        let read = |value: &'a Json| if let Json::Text(text) = value { Some(text.as_str()) } else { None };
        self.typed(name, faults, (read, "write a text in quotes"))
    }

    pub(super) fn section(&self, name: &str, faults: &mut Faults) -> Option<&'a Members> {
        let read = |value: &'a Json| if let Json::Object(members) = value { Some(members) } else { None };
        self.typed(name, faults, (read, "write a JSON object"))
    }

    pub(super) fn list(&self, name: &str, faults: &mut Faults) -> Option<&'a [Json]> {
        let read = |value: &'a Json| if let Json::List(list) = value { Some(list.as_slice()) } else { None };
        self.typed(name, faults, (read, "write a JSON array"))
    }

    /// A list of objects, each with its path; adds a fault for every other item.
    pub(super) fn sections(&self, name: &str, faults: &mut Faults) -> Vec<(String, &'a Members)> {
        let mut sections = Vec::new();
        for (i, value) in self.list(name, faults).unwrap_or_default().iter().enumerate() {
            let path = format!("{}[{i}]", self.path(name));
            match value {
                Json::Object(members) => sections.push((path, members)),
                other => faults.wrong(&path, other, "write a JSON object"),
            }
        }
        sections
    }

    /// A text with a number of up to 64 bits.
    pub(super) fn quantity_64(&self, name: &str, faults: &mut Faults) -> Option<u64> {
        let read = |value: &Json| quantity(value)?.small();
        self.typed(
            name,
            faults,
            (read, "write a text with a number below 2^64, such as \"0x1f\" or \"31\", in quotes"),
        )
    }

    /// A text with a number of up to 256 bits.
    pub(super) fn quantity_256(&self, name: &str, faults: &mut Faults) -> Option<Quantity> {
        let remedy = "write a text with a number below 2^256, such as \"0x1f\" or \"31\", in quotes";
        self.typed(name, faults, (quantity, remedy))
    }

    /// A text with any number of bytes.
    pub(super) fn bytes(&self, name: &str, faults: &mut Faults) -> Option<Vec<u8>> {
        let read = |value: &Json| match value {
            Json::Text(text) if text.is_empty() => Some(Vec::new()),
            Json::Text(text) => hex(prefixed(text)?),
            _ => None,
        };
        self.typed(name, faults, (read, "write a text of 0x and pairs of hexadecimal digits"))
    }

    /// A text whose value never appears in a message.
    pub(super) fn secret(&self, name: &str, faults: &mut Faults) {
        let mut inner = Faults::default();
        if self.bytes(name, &mut inner).is_none() && inner.summary().is_some() {
            faults.wrong(
                &self.path(name),
                "invalid (the value is not shown here)",
                "remove the member, because the client does not use it, and a genesis must not contain keys",
            );
        }
    }

    /// A text with 32 bytes.
    pub(super) fn hash(&self, name: &str, faults: &mut Faults) -> Option<[u8; 32]> {
        let read = |value: &Json| fixed(value);
        self.typed(name, faults, (read, "write a text of 0x and 64 hexadecimal digits"))
    }

    /// A text with an address.
    pub(super) fn address(&self, name: &str, faults: &mut Faults) -> Option<[u8; 20]> {
        let read = |value: &Json| fixed(value);
        self.typed(name, faults, (read, ADDRESS))
    }

    /// A member that may be absent but that the client rejects where it is null.
    pub(super) fn not_null(&self, name: &str, faults: &mut Faults) {
        if self.members.given(name).any(|value| *value == Json::Null) {
            faults.wrong(&self.path(name), "null", "remove the member, or give it a value");
        }
    }

    /// A list of addresses.
    pub(super) fn addresses(&self, name: &str, faults: &mut Faults) -> Vec<[u8; 20]> {
        let mut addresses = Vec::new();
        for (i, value) in self.list(name, faults).unwrap_or_default().iter().enumerate() {
            match fixed(value) {
                Some(address) => addresses.push(address),
                None => faults.wrong(&format!("{}[{i}]", self.path(name)), value, ADDRESS),
            }
        }
        addresses
    }
}

const ADDRESS: &str = "write an address, a text of 0x and 40 hexadecimal digits";

fn quantity(value: &Json) -> Option<Quantity> {
    if let Json::Text(text) = value { Quantity::read(text) } else { None }
}

fn fixed<const N: usize>(value: &Json) -> Option<[u8; N]> {
    if let Json::Text(text) = value { hex(prefixed(text)?)?.try_into().ok() } else { None }
}

fn prefixed(text: &str) -> Option<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
}

/// Pairs of hexadecimal digits.
pub(super) fn hex(digits: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<_>> = digits.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    let (pairs, _) = digits.as_chunks::<2>();
    pairs.iter().map(|[high, low]| u8::try_from(high * 16 + low).ok()).collect()
}
