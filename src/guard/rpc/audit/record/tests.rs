use super::*;

/// 2025-11-25T17:05:05.007Z
const AT: Duration = Duration::from_millis(1_764_090_305_007);
const WHO: &str = ",\"subject\":\"system:serviceaccount:apps:wallet\",\"pod\":\"wallet-0\"";

fn way(from: &str) -> Way {
    Way { connection: 7, from: from.parse().unwrap(), transport: Transport::Http1 }
}

fn fact() -> Fact<'static> {
    Fact {
        caller: Some("wallet"),
        who: Some(WHO),
        method: Some("eth_blockNumber"),
        verdict: Verdict::Allowed,
        reason: None,
        call: None,
        bytes: (63, 45),
        took: Duration::from_micros(812),
    }
}

fn read(text: Vec<u8>) -> serde_json::Value {
    let text = String::from_utf8(text).unwrap();
    assert!(text.ends_with("}\n") && text.matches('\n').count() == 1, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn written(way: &Way, fact: &Fact<'_>) -> serde_json::Value {
    let mut text = Vec::new();
    line(&mut Clock::default(), AT, way, fact, &mut text);
    assert!(text.len() <= most(fact), "{} of {}", text.len(), most(fact));
    read(text)
}

#[test]
fn a_line_says_who_what_and_how_it_ended() {
    let wanted = serde_json::json!({
        "time": "2025-11-25T17:05:05.007Z", "connection": 7, "from": "10.1.2.3", "transport": "http/1.1",
        "caller": "wallet", "subject": "system:serviceaccount:apps:wallet", "pod": "wallet-0",
        "method": "eth_blockNumber", "verdict": "allowed", "bytesIn": 63, "bytesOut": 45, "micros": 812,
    });
    assert_eq!(written(&way("10.1.2.3"), &fact()), wanted);
    let refused = Fact {
        caller: None,
        who: None,
        method: None,
        reason: Some("identity"),
        verdict: Verdict::Refused,
        call: Some(9),
        ..fact()
    };
    let wanted = serde_json::json!({
        "time": "2025-11-25T17:05:05.007Z", "connection": 7, "from": "fd00::1", "transport": "http/1.1",
        "verdict": "refused", "reason": "identity", "call": 9, "bytesIn": 63, "bytesOut": 45, "micros": 812,
    });
    assert_eq!(written(&way("fd00::1"), &refused), wanted);
    for from in ["0.0.0.0", "255.255.255.255", "::", "::ffff:10.1.2.3", "fe80::a:1"] {
        assert_eq!(written(&way(from), &fact())["from"], from);
    }
}

#[test]
fn the_longest_line_is_as_long_as_was_reserved_for_it() {
    let longest = REASONS.iter().copied().max_by_key(|reason| reason.len());
    let largest = Fact {
        reason: longest,
        call: Some(u64::MAX),
        bytes: (u64::MAX, u64::MAX),
        took: Duration::MAX,
        ..fact()
    };
    let way = Way {
        connection: u64::MAX,
        transport: Transport::WebSocket,
        ..way("1111:2222:3333:4444:5555:6666:7777:8888")
    };
    let mut text = Vec::new();
    line(&mut Clock::default(), Duration::MAX, &way, &largest, &mut text);
    assert_eq!(text.len(), most(&largest), "{}", String::from_utf8_lossy(&text));
    let largest = read(text);
    assert_eq!((&largest["bytesIn"], &largest["micros"]), (&u64::MAX.into(), &u64::MAX.into()));
    for verdict in Verdict::ALL {
        assert!(verdict.as_str().len() <= Verdict::Allowed.as_str().len());
    }
}

#[test]
fn the_time_is_that_of_each_line() {
    let mut clock = Clock::default();
    for (millis, wanted) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_764_090_305_007, "2025-11-25T17:05:05.007Z"),
        (1_764_090_305_999, "2025-11-25T17:05:05.999Z"),
        (1_764_090_306_000, "2025-11-25T17:05:06.000Z"),
        (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
        (1_764_090_305_010, "2025-11-25T17:05:05.010Z"),
        (253_402_300_799_000, "9999-12-31T23:59:59.000Z"),
    ] {
        let mut text = Vec::new();
        clock.write(Duration::from_millis(millis), &mut text);
        assert_eq!(String::from_utf8(text).unwrap(), wanted);
    }
}

#[test]
fn a_line_of_several_says_how_many_and_since_when() {
    let mut several = Sum {
        verdict: Verdict::Refused,
        reason: Some("rate"),
        count: 137,
        bytes: 9000,
        since: Duration::from_millis(1_764_090_304_001),
        caller: Some("wallet".into()),
        who: None,
        method: None,
        connection: None,
        from: Some("10.1.2.3".parse().unwrap()),
        transport: None,
    };
    let written = |several: &Sum| {
        let mut text = Vec::new();
        sum(&mut Clock::default(), AT, several, &mut text);
        read(text)
    };
    let wanted = serde_json::json!({
        "time": "2025-11-25T17:05:05.007Z", "from": "10.1.2.3", "caller": "wallet", "verdict": "refused",
        "reason": "rate", "count": 137, "since": "2025-11-25T17:05:04.001Z", "bytesIn": 9000,
    });
    assert_eq!(written(&several), wanted);
    (several.from, several.connection, several.transport) = (None, Some(7), Some(Transport::Http2));
    (several.who, several.method) = (Some(WHO.into()), Some("eth_call".into()));
    let all = written(&several);
    assert_eq!(
        (&all["connection"], &all["pod"], &all["method"]),
        (&7.into(), &"wallet-0".into(), &"eth_call".into())
    );
}
