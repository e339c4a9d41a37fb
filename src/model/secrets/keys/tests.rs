use serde_json::json;

use super::{
    super::{generate, samples},
    *,
};
use samples::{data, fault, put};

const ONE: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

fn node_key(text: &str) -> Result<NodeIdentity, InvalidContent> {
    read_node_key(&data([("key", text.to_owned())]), "key")
}

fn node_key_fault(text: &str) -> String {
    fault(|data| read_node_key(data, "key"), &data([("key", text.to_owned())]))
}

#[test]
fn the_key_one_is_the_generator_and_its_well_known_address() {
    let identity = node_key(ONE).unwrap();
    assert_eq!(
        identity.public_key,
        "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
         483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
    );
    assert_eq!(identity.address, "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf");
}

#[test]
fn upper_case_and_two_newline_characters_are_as_good() {
    let below_order = ORDER.replace("4141", "4140");
    for text in [below_order.clone(), below_order.to_uppercase()] {
        for end in ["", "\n", "\r\n", "\n\n"] {
            assert_eq!(node_key(&format!("{text}{end}")).unwrap(), node_key(&below_order).unwrap());
        }
    }
}

#[test]
fn what_geth_would_not_read_is_refused() {
    for text in [
        format!("0x{ONE}"),
        format!("0x{}", &ONE[2..]),
        ONE[1..].to_owned(),
        format!("{ONE}2"),
        format!("{ONE}\n\n\n"),
        format!("{ONE} "),
        format!("{ONE}\n2"),
        format!("\n{ONE}"),
        ONE.replacen("00", "+1", 1),
        ONE.replacen('0', "g", 1),
    ] {
        assert!(node_key_fault(&text).starts_with("key must be exactly 64 hexadecimal digits"), "{text:?}");
    }
}

#[test]
fn a_number_that_is_no_key_on_the_curve_is_refused() {
    for text in [ONE.replace('1', "0"), ORDER.to_owned(), "f".repeat(64)] {
        assert!(node_key_fault(&text).starts_with("key is not a private key on secp256k1"), "{text}");
    }
}

#[test]
fn a_missing_key_of_the_secret_is_named_with_those_present() {
    let data = data([("other", ONE.to_owned()), ("third", ONE.to_owned())]);
    let message = fault(|data| read_node_key(data, "key"), &data);
    assert!(
        message.starts_with("key is missing") && message.ends_with("which has only other, third"),
        "{message}"
    );
    let message = fault(|data| read_node_key(data, "key"), &Data::new());
    assert!(message.ends_with("which has no keys"), "{message}");
    assert!(node_key_fault("").starts_with("key is empty"));
}

/// Private and public key: the first iteration in RFC 7748, section 5.2, whose point is the base point.
fn pair() -> (String, String) {
    let mut private = [0; 32];
    private[0] = 9;
    let public = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079";
    let byte = |at: usize| u8::from_str_radix(&public[2 * at..2 * at + 2], 16).unwrap();
    let public: [u8; 32] = std::array::from_fn(byte);
    (STANDARD.encode(private), STANDARD.encode(public))
}

fn unlocked(private: &str) -> String {
    json!({"type": "unlocked", "data": {"bytes": private}}).to_string()
}

fn locked() -> serde_json::Value {
    let bytes = |length: usize| STANDARD.encode(vec![9; length]);
    json!({"type": "argon2sbox", "data": {
        "aopts": {"variant": "id", "memory": 1048576, "iterations": 10, "parallelism": 4},
        "snonce": bytes(24), "asalt": bytes(16), "sbox": bytes(48)
    }})
}

fn manager(private: String, public: String) -> Data {
    data([("tm.key", private), ("tm.pub", public)])
}

fn read_manager(data: &Data) -> Result<TransactionManagerKey, InvalidContent> {
    read_transaction_manager_key(data, "tm.key", "tm.pub")
}

#[test]
fn an_unlocked_pair_is_read() {
    let (private, public) = pair();
    let read = read_manager(&manager(unlocked(&private), public.clone())).unwrap();
    assert_eq!(read, TransactionManagerKey { public_key: public, locked: false });
}

#[test]
fn a_locked_pair_is_read_without_its_password() {
    let (_, public) = pair();
    let read = read_manager(&manager(locked().to_string(), public.clone())).unwrap();
    assert_eq!(read, TransactionManagerKey { public_key: public, locked: true });
}

#[test]
fn a_private_key_must_be_that_of_the_public_key() {
    let (private, _) = pair();
    let message = fault(read_manager, &manager(unlocked(&private), STANDARD.encode([5; 32])));
    assert!(message.starts_with("tm.key is not the private key of tm.pub"), "{message}");
}

#[test]
fn a_public_key_that_tessera_would_not_decode_is_refused() {
    let (private, public) = pair();
    for wrong in [
        format!("{public}\n"),
        format!(" {public}"),
        public.trim_end_matches('=').to_owned(),
        STANDARD.encode([5; 31]),
        STANDARD.encode([5; 33]),
        json!({"publicKey": public}).to_string(),
    ] {
        let message = fault(read_manager, &manager(unlocked(&private), wrong.clone()));
        assert!(
            message.starts_with("tm.pub must be base64 of 32 bytes and nothing else"),
            "{wrong:?}: {message}"
        );
    }
}

#[test]
fn a_private_key_file_of_another_form_is_refused() {
    let (private, public) = pair();
    for (wrong, why) in [
        (private.clone(), "is not JSON"),
        (json!({"data": {"bytes": private}}).to_string(), "has a `type`"),
        (json!({"type": "pkcs8", "data": {"bytes": private}}).to_string(), "has a `type`"),
        (json!({"type": "unlocked", "bytes": private}).to_string(), "has no `data` object"),
        (json!({"type": "unlocked", "data": private}).to_string(), "has no `data` object"),
        (unlocked(&STANDARD.encode([5; 31])), "must have 32 bytes"),
        (unlocked("~"), "must have 32 bytes"),
        (json!({"type": "unlocked", "data": {}}).to_string(), "must have 32 bytes"),
    ] {
        let message = fault(read_manager, &manager(wrong, public.clone()));
        assert!(message.starts_with(&format!("tm.key {why}")), "{message}");
    }
}

#[test]
fn a_locked_private_key_file_must_be_complete() {
    for field in ["aopts", "snonce", "asalt", "sbox"] {
        let mut file = locked();
        file["data"][field] = json!("");
        let message = fault(read_manager, &manager(file.to_string(), pair().1));
        assert!(message.starts_with("tm.key must have `aopts`"), "{field}: {message}");
    }
}

#[test]
fn both_halves_must_be_there() {
    let (private, public) = pair();
    let whole = manager(unlocked(&private), public);
    for half in ["tm.key", "tm.pub"] {
        let mut data = whole.clone();
        data.remove(half);
        assert!(fault(read_manager, &data).starts_with(&format!("{half} is missing")));
    }
}

#[test]
fn a_password_is_one_line_with_or_without_its_end() {
    let read = |text: &[u8]| {
        let mut data = Data::new();
        put(&mut data, "word", text);
        read_password(&data, "word").map_err(|_| fault(|data| read_password(data, "word"), &data))
    };
    for right in ["correct horse", "correct horse\n", "correct horse\r\n", " "] {
        assert_eq!(read(right.as_bytes()), Ok(()), "{right:?}");
    }
    for (wrong, why) in [
        (&b""[..], "word is empty"),
        (b"\n", "word is an empty line"),
        (b"\r\n", "word is an empty line"),
        (b"correct horse\nbattery", "word has several lines"),
        (b"correct horse\n\n", "word has several lines"),
        (b"correct\rhorse", "word has several lines"),
        (b"\xff\xfe", "word is not UTF-8 text"),
    ] {
        let message = read(wrong).unwrap_err();
        assert!(message.starts_with(why), "{wrong:?}: {message}");
    }
    assert!(fault(|data| read_password(data, "word"), &Data::new()).starts_with("word is missing"));
}

#[test]
fn a_database_certificate_needs_its_key_in_both_forms() {
    let request = tls::LeafRequest { pkcs8_der: true, ..samples::request() };
    let mut whole = generate::leaf(&samples::authority(), &request, samples::now()).unwrap();
    whole.remove("ca.crt");
    assert_eq!(read_database_certificate(&whole), Ok(()));
    for part in ["tls.crt", "tls.key", "tls.pk8"] {
        let mut data = whole.clone();
        data.remove(part);
        assert!(fault(read_database_certificate, &data).starts_with(&format!("{part} is missing")));
    }
    let other = generate::leaf(&samples::authority(), &request, samples::now()).unwrap();
    for part in ["tls.crt", "tls.key", "tls.pk8"] {
        let mut data = whole.clone();
        data.insert(part.into(), other[part].clone());
        let culprit = if part == "tls.pk8" { part } else { "tls.key" };
        assert!(
            fault(read_database_certificate, &data).starts_with(&format!("{culprit} is not the key")),
            "{part}"
        );
    }
}
