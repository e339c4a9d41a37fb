use proptest::prelude::*;

use super::*;

#[test]
fn the_line_that_tells_of_the_end_is_found_among_what_was_logged() {
    let geth = "INFO [11-30|14:32:24.123] Maximum peer count ETH=25\n\
        Fatal: Failed to write genesis block: unsupported fork ordering\n\
        INFO [11-30|14:32:24.124] Blockchain stopped\n";
    assert_eq!(
        last_words(geth).as_deref(),
        Some("Fatal: Failed to write genesis block: unsupported fork ordering")
    );
    let panic =
        "panic: runtime error: index out of range [0]\n\ngoroutine 1 [running]:\nmain.main()\n\tat x.go:7";
    assert_eq!(last_words(panic).as_deref(), Some("panic: runtime error: index out of range [0]"));
    let java =
        "2026-11-30 14:32:24.123 [main] ERROR Main - keys do not match\n\tat com.quorum.Main(Main.java:7)\n";
    assert_eq!(
        last_words(java).as_deref(),
        Some("2026-11-30 14:32:24.123 [main] ERROR Main - keys do not match")
    );
    assert_eq!(last_words("one\n  two  \n\n").as_deref(), Some("two"), "else the last");
    for nothing in ["", " \n\t\n", "\tat com.quorum.Main\n", "\u{1b}[0m\n"] {
        assert_eq!(last_words(nothing), None, "{nothing:?}");
    }
}

#[test]
fn of_a_line_of_json_the_message_and_the_error_are_told() {
    let guard = r#"{"timestamp":"2026-11-30T14:32:24Z","level":"ERROR","message":"the manager does not answer","target":"x"}"#;
    let after = format!("{guard}\n{}", r#"{"level":"INFO","message":"bye"}"#);
    assert_eq!(last_words(&after).as_deref(), Some("Fatal: the manager does not answer"));
    let geth = r#"{"err":"no such file","lvl":"crit","msg":"Failed to open","t":"2026-11-30"}"#;
    assert_eq!(last_words(geth).as_deref(), Some("Fatal: Failed to open: no such file"));
    assert_eq!(last_words(r#"{"caller":"wallet"}"#), None, "a record of what somebody did");
    let panics = "a line\nthread 'main' panicked at src/main.rs:3:5:\nnote: run with RUST_BACKTRACE=1";
    assert_eq!(last_words(panics).as_deref(), Some("thread 'main' panicked at src/main.rs:3:5:"));
}

#[test]
fn no_more_is_read_than_can_matter() {
    let began = std::time::Instant::now();
    let shown = quoted(&"token ".repeat(300_000));
    assert!(
        shown.len() <= 303 && began.elapsed() < std::time::Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn what_a_terminal_would_obey_is_not_shown() {
    for (said, shown) in [
        ("\u{1b}[31;1mred\u{1b}[0m end", "red end"),
        ("a\u{7}\u{0}\u{8}b", "a b"),
        ("gnp.\u{202e}\u{2066}exe", "gnp.?exe"),
        ("zero\u{200b}width, na\u{ef}ve", "zero?width, na?ve"),
        ("two\r\nlines\u{2028}three", "two lines three"),
        ("\u{9b}31mc1", "31mc1"),
        ("a \"quote\"", "a 'quote'"),
    ] {
        assert_eq!(quoted(said), shown);
    }
}

#[test]
fn what_may_be_a_key_is_hidden_and_words_are_not() {
    let hex = "c0ffee11c0ffee22c0ffee33c0ffee44c0ffee55c0ffee66c0ffee77c0ffee88";
    for (said, shown) in [
        (format!("have {hex}, new 0x{hex}"), "have [hidden], new [hidden]".to_owned()),
        (format!("enode://{hex}{hex}@10.0.0.1:30303?x"), "enode://[hidden]@10.0.0.1:30303?x".into()),
        ("enode://short@h:1".into(), "enode://[hidden]@h:1".into()),
        ("https://tm:pw@h/x and ftp://h/y@z".into(), "https://[hidden]@h/x and ftp://h/y@z".into()),
        ("key /+xTQUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo= no".into(), "key [hidden] no".into()),
        ("canary/node+key=7f3a91 is bad".into(), "[hidden] is bad".into()),
        ("63%2616E616172792F782B793D31".into(), "[hidden]".into()),
        ("bytes [99 111 102 102 101 101 17 18 19] end".into(), "bytes [hidden] end".into()),
        ("bytes 99, 111, 102, 102, 101, 101, 17, 18, 19 end".into(), "bytes [hidden] end".into()),
        ("de:ad:be:ef:00:11:22:33:44:55".into(), "[hidden]".into()),
        ("jdbc?user=tm&password=hunter2&ssl=on".into(), "jdbc?user=tm&password=[hidden]".into()),
        ("'Password': 'two words', next".into(), "'Password': '[hidden]', next".into()),
        ("Passphrase: two words".into(), "Passphrase: [hidden]".into()),
        ("token = abc; more".into(), "token = [hidden] more".into()),
        ("password=one,two;three'four&five: no".into(), "password=[hidden] no".into()),
        ("'password': 'one', two' of 'x' is bad".into(), "'password': '[hidden]' is bad".into()),
    ] {
        assert_eq!(quoted(&said), shown);
    }
    for plain in [
        "Fatal: Failed to write genesis block: database contains incompatible genesis",
        "open /data/geth/chaindata/ancient/headers/LOCK: resource temporarily unavailable",
        "java.nio.file.NoSuchFileException: /etc/tessera/config/config.json",
        "AutoDiscoveryDisabledException: https://bob-tm.ledger.svc:9000/ is not a known peer",
        "FATAL: password authentication failed for user quorum",
        "listen tcp [fd00:0:0:0:0:0:0:1]:30303: bind: address already in use",
        "pods alice-client-0 is forbidden: exceeded quota: small, requested: pods=1, used: pods=3",
    ] {
        assert_eq!(quoted(plain), plain);
    }
}

#[test]
fn what_is_shown_is_bounded_and_cut_after_it_was_filtered() {
    let long = quoted(&"so it is ".repeat(1000));
    assert!(long.ends_with("...") && long.len() == MAX_QUOTE + 3, "{long}");
    let before = "x ".repeat(MAX_QUOTE / 2 - 4);
    let shown = quoted(&format!("{before}c0ffee11c0ffee22c0ffee33c0ffee44"));
    assert!(shown.ends_with("[hidden]"), "{shown}");
    // a message that the kubelet has cut may begin in the middle of a key
    let cut = format!("c0ffee11 {}", "y".repeat(KUBELET_LIMIT));
    assert!(!last_words(&cut).expect("words").contains("c0ffee"));
}

proptest! {
    #[test]
    fn no_key_is_shown_in_any_form(
        key in prop::collection::vec(any::<u8>(), 32),
        before in "[ -~]{0,40}[ =:\"(]",
        after in "[ )\",][ -~]{0,40}",
    ) {
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let base64 = serde_json::to_value(k8s_openapi::ByteString(key.clone())).expect("text");
        let base64 = base64.as_str().unwrap_or_default().to_owned();
        let listed = key.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        let go = key.iter().map(u8::to_string).collect::<Vec<_>>().join(" ");
        let colons = key.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        for form in [hex, base64, listed, format!("[{go}]"), colons] {
            let shown = last_words(&format!("{before}{form}{after}")).unwrap_or_default();
            for part in (0..form.len() - 16).step_by(8).map(|at| &form[at..at + 16]) {
                prop_assert!(!shown.contains(part), "{part} of {form} in {shown}");
            }
            prop_assert!(shown.len() <= MAX_QUOTE + 3 && shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }

    #[test]
    fn anything_can_be_quoted(text in any::<String>()) {
        let _ = last_words(&text);
        let shown = quoted(&text);
        prop_assert!(shown.len() <= MAX_QUOTE + 3 && shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }
}

#[test]
fn passwords_of_flags_schemes_and_short_names_are_hidden() {
    for (said, shown) in [
        ("pwd=hunter2 host=db", "pwd=[hidden] host=db"),
        ("pass = hunter2, no", "pass = [hidden] no"),
        ("bad --password hunter2 --host db", "bad --password [hidden] --host db"),
        ("bad --db.password 'hunter2' now", "bad --db.password '[hidden]' now"),
        ("got Bearer abc.def from 10.0.0.1", "got Bearer [hidden] from 10.0.0.1"),
        ("Authorization: Basic dXNlcg==", "Authorization: [hidden]"),
        ("api-key: k1", "api-key: [hidden]"),
        // words, not values
        ("no basic auth credentials", "no basic auth credentials"),
        ("bypass=1, compass: north", "bypass=1, compass: north"),
        ("the bearer token is missing", "the bearer token is missing"),
        ("the password does not match", "the password does not match"),
    ] {
        assert_eq!(quoted(said), shown);
    }
}

#[test]
fn a_recovery_phrase_is_hidden_and_a_sentence_is_not() {
    let phrase = "legal winner thank year wave sausage worth useful legal winner thank yellow";
    assert_eq!(quoted(&format!("A bad phrase: {phrase}.")), "A [hidden]");
    assert_eq!(quoted(phrase), "[hidden]");
    let sentence = "the server could not find the requested resource and will not try again";
    assert_eq!(quoted(sentence), sentence);
}
