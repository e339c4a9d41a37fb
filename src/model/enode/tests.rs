//! Tests of enode URLs: accepted forms, rejected forms and their messages.

use proptest::prelude::*;

use super::*;

fn key() -> String {
    "5fa1".repeat(32)
}

fn read(text: &str) -> Result<String, Wrong> {
    text.parse::<Enode>().map(|enode| enode.to_string())
}

#[test]
fn every_form_that_people_copy_is_written_in_one() {
    let (key, upper) = (key(), key().to_uppercase());
    let v4 = format!("enode://{key}@192.0.2.7:30303?discport=0");
    let v6 = format!("enode://{key}@[2001:db8::7]:30303?discport=0");
    for (text, written) in [
        (v4.clone(), &v4),
        (format!("enode://{key}@192.0.2.7:30303"), &v4),
        (format!("enode://{upper}@192.0.2.7:30303"), &v4),
        (format!("ENODE://{upper}@192.0.2.7:30303"), &v4),
        (format!("enode://{key}@192.0.2.7:30303?discport=30301"), &v4),
        (format!("enode://{key}@192.0.2.7:30303?discport=0&raftport=50400"), &v4),
        (format!("enode://{key}@192.0.2.7:30303?raftport=50400&discport=0"), &v4),
        (format!("enode://{key}@192.0.2.7:30303?raftport=50400"), &v4),
        (format!("  enode://{key}@192.0.2.7:30303\n"), &v4),
        (v6.clone(), &v6),
        (format!("enode://{key}@[2001:DB8:0:0::7]:30303"), &v6),
    ] {
        assert_eq!(read(&text).as_ref(), Ok(written), "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_in_words() {
    let at = |rest: &str| format!("enode://{}@{rest}", key());
    let address = |text: &str| Wrong::Address(text.into());
    for (text, wrong) in [
        ("enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZXJBGkcnh4MHcBFZntXNFrdvJjX04jRzjzCBOonrkTfj499SZuOh8R33Ls8RRcy5wBgmlkgnY0".into(), Wrong::Record),
        ("ENR:-IS4Q".into(), Wrong::Record),
        (String::new(), Wrong::Scheme),
        ("http://192.0.2.7:30303".into(), Wrong::Scheme),
        (key(), Wrong::Scheme),
        ("enode://".into(), Wrong::Key(0)),
        ("enode://0x5fa1@192.0.2.7:30303".into(), Wrong::Key(5)),
        (format!("enode://{}g@192.0.2.7:30303", key()), Wrong::Key(128)),
        (format!("enode://{}", key()), Wrong::NoAddress),
        (at(":30303"), Wrong::NoAddress),
        (at("peer.bank.example:30303"), Wrong::Name("peer.bank.example".into())),
        (at("localhost:30303"), Wrong::Name("localhost".into())),
        (at("peer.bank.example"), Wrong::Name("peer.bank.example".into())),
        (at("192.0.2.256:30303"), address("192.0.2.256")),
        (at("[2001:db8::7::8]:30303"), address("2001:db8::7::8")),
        (at("[fe80::1%3]:30303"), address("fe80::1%3")),
        (at("[192.0.2.7]:30303"), address("192.0.2.7")),
        (at("2001:db8::7:30303"), Wrong::Brackets),
        (at("2001:db8::7"), Wrong::Brackets),
        (at("[2001:db8::7:30303"), Wrong::Brackets),
        (at("192.0.2.7"), Wrong::Port),
        (at("192.0.2.7:"), Wrong::Port),
        (at("192.0.2.7:0"), Wrong::Port),
        (at("192.0.2.7:+7"), Wrong::Port),
        (at("192.0.2.7:65536"), Wrong::Port),
        (at("[2001:db8::7]30303"), Wrong::Port),
        (at("192.0.2.7:30303?discport=x"), Wrong::Parameter("discport=x".into())),
        (at("192.0.2.7:30303?discport"), Wrong::Parameter("discport".into())),
        (at("192.0.2.7:30303?discport=0&name=a"), Wrong::Parameter("name=a".into())),
        (at("192.0.2.7:30303?"), Wrong::Parameter(String::new())),
    ] {
        assert_eq!(read(&text), Err(wrong), "{text}");
    }
}

/// No message shows a pattern: each says what was found, or what to write.
#[test]
fn a_name_and_a_record_are_called_what_they_are() {
    let name = Wrong::Name("peer.bank.example".into()).to_string();
    assert!(
        name.starts_with("peer.bank.example is a DNS name") && name.contains("write the IP address"),
        "{name}"
    );
    let record = Wrong::Record.to_string();
    assert!(record.starts_with("this is an ENR") && record.contains("enode://KEY@"), "{record}");
}

fn enodes() -> impl Strategy<Value = Enode> {
    let ip = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()))
    ];
    (proptest::array::uniform32(any::<u16>()), ip, 1..=u16::MAX).prop_map(|(key, ip, port)| Enode {
        public_key: key.iter().map(|four| format!("{four:04x}")).collect(),
        endpoint: SocketAddr::new(ip, port),
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(enode in enodes()) {
        prop_assert_eq!(enode.to_string().parse::<Enode>(), Ok(enode));
    }

    #[test]
    fn neither_case_nor_parameters_make_another_client(enode in enodes(), disc: u16, raft: u16, first: bool) {
        let bare = enode.to_string().replace("?discport=0", "").to_uppercase();
        let both = if first { format!("discport={disc}&raftport={raft}") } else { format!("raftport={raft}&discport={disc}") };
        prop_assert_eq!(format!("{bare}?{both}").parse::<Enode>(), Ok(enode));
    }

    #[test]
    fn no_text_is_read_as_something_that_is_not_written_the_same(text in "(enode://)?[0-9a-fA-F]{126,130}@\\PC{0,40}") {
        if let Ok(enode) = text.parse::<Enode>() {
            prop_assert_eq!(enode.to_string().parse::<Enode>(), Ok(enode));
        }
    }
}
