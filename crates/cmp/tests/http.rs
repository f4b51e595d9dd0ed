//! The HTTP transport against small real servers: what it sends, what it accepts, and how each failure is named.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

use std::time::Duration;

use cmp::http::{
    HttpConfig, HttpConfigError, HttpProxy, HttpTransport, HttpVersion, NoProxy, ProxyCredentials,
};
use cmp::{Class, Reached, Transport, TransportError, TransportErrorKind};
use peer::{MESSAGE, Peer, Reaction, answer, good, header, serve};
use pki::Secret;
use tokio::net::TcpListener;

#[path = "http/peer.rs"]
mod peer;

fn config(url: &str) -> HttpConfig {
    HttpConfig::new(url.parse().unwrap())
}

fn transport(config: HttpConfig) -> HttpTransport {
    HttpTransport::new(config).unwrap()
}

async fn failure(peer: &Peer) -> TransportError {
    transport(config(&peer.url())).post(MESSAGE).await.unwrap_err()
}

fn has(error: &TransportError, reached: Reached, kind: TransportErrorKind) {
    assert_eq!((error.reached, error.kind), (reached, kind), "{error}");
}

#[tokio::test]
async fn a_message_is_posted_with_its_media_type_and_length() {
    let peer = serve(|_| Reaction::Answer(good())).await;
    let answer = transport(config(&peer.url())).post(b"request").await.unwrap();
    assert_eq!(answer.body, MESSAGE);
    let seen = peer.seen().remove(0);
    assert!(seen.head.starts_with("POST /cmp HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(header(&seen.head, "content-type"), Some("application/pkixcmp"));
    assert_eq!(header(&seen.head, "content-length"), Some("7"));
    assert_eq!(
        header(&seen.head, "host"),
        Some(peer.address.to_string().as_str())
    );
    assert_eq!(seen.body, b"request");
}

#[tokio::test]
async fn the_connection_is_kept_between_messages() {
    let peer = serve(|_| Reaction::Answer(good())).await;
    let transport = transport(config(&peer.url()));
    for _ in 0..3 {
        transport.post(MESSAGE).await.unwrap();
    }
    assert_eq!(
        peer.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(),
        [0, 0, 0]
    );
}

#[tokio::test]
async fn a_kept_connection_that_the_server_has_closed_is_replaced() {
    let peer = serve(|_| Reaction::Last(good())).await;
    let transport = transport(config(&peer.url()));
    for _ in 0..3 {
        transport.post(MESSAGE).await.unwrap();
    }
    assert_eq!(
        peer.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(),
        [0, 1, 2]
    );
}

#[tokio::test]
async fn a_kept_connection_that_ends_without_an_answer_is_replaced_once_with_the_same_bytes() {
    let peer = serve(|seen| match seen.connection {
        0 if seen.body == b"second" => Reaction::Last(Vec::new()),
        _ => Reaction::Answer(good()),
    })
    .await;
    let transport = transport(config(&peer.url()));
    transport.post(b"first").await.unwrap();
    transport.post(b"second").await.unwrap();
    let seen = peer.seen();
    let seen: Vec<_> = seen
        .iter()
        .map(|seen| (seen.connection, seen.body.as_slice()))
        .collect();
    assert_eq!(seen, [(0, b"first".as_slice()), (0, b"second"), (1, b"second")]);
}

#[tokio::test]
async fn a_fresh_connection_that_ends_without_an_answer_is_not_replaced() {
    let peer = serve(|seen| match seen.body.as_slice() {
        b"first" => Reaction::Answer(good()),
        _ => Reaction::Last(Vec::new()),
    })
    .await;
    let transport = transport(config(&peer.url()));
    transport.post(b"first").await.unwrap();
    has(
        &transport.post(b"second").await.unwrap_err(),
        Reached::Maybe,
        TransportErrorKind::Interrupted,
    );
    // On the kept connection and on one of its own, and no more.
    assert_eq!(peer.seen().len(), 3);
    has(
        &transport.post(b"third").await.unwrap_err(),
        Reached::Maybe,
        TransportErrorKind::Interrupted,
    );
    assert_eq!(peer.seen().len(), 4);
}

#[tokio::test]
async fn what_may_have_arrived_on_a_kept_connection_counts_although_the_next_was_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        let mut buffer = vec![0; 4096];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        stream.write_all(&good()).await.unwrap();
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
    });
    let transport = transport(config(&url));
    transport.post(MESSAGE).await.unwrap();
    has(
        &transport.post(MESSAGE).await.unwrap_err(),
        Reached::Maybe,
        TransportErrorKind::Connect,
    );
}

#[tokio::test]
async fn http_1_0_is_spoken_on_request_with_a_connection_for_each_message() {
    let peer = serve(|_| {
        Reaction::Last(
            [
                b"HTTP/1.0 200 OK\r\nContent-Type: application/pkixcmp\r\n\r\n",
                MESSAGE,
            ]
            .concat(),
        )
    })
    .await;
    let mut config = config(&peer.url());
    config.version = HttpVersion::Http10;
    let transport = transport(config);
    for _ in 0..2 {
        assert_eq!(transport.post(MESSAGE).await.unwrap().body, MESSAGE);
    }
    let seen = peer.seen();
    assert!(
        seen[0].head.starts_with("POST /cmp HTTP/1.0\r\n"),
        "{}",
        seen[0].head
    );
    assert_eq!(header(&seen[0].head, "content-length"), Some("7"));
    assert_eq!([seen[0].connection, seen[1].connection], [0, 1]);
}

#[tokio::test]
async fn answers_with_length_in_chunks_and_until_the_end_are_accepted() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/pkixcmp\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let chunked = [
        chunked.as_bytes(),
        b"3\r\n",
        &MESSAGE[..3],
        b"\r\n4\r\n",
        &MESSAGE[3..],
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let until_end = [format!("{head}Connection: close\r\n\r\n").as_bytes(), MESSAGE].concat();
    for reaction in [
        Reaction::Answer(good()),
        Reaction::Answer(chunked),
        Reaction::Last(until_end),
    ] {
        let peer = serve(move |_| reaction.clone()).await;
        assert_eq!(
            transport(config(&peer.url())).post(MESSAGE).await.unwrap().body,
            MESSAGE
        );
    }
}

#[tokio::test]
async fn a_cmp_message_in_an_error_answer_and_under_a_wrong_type_is_handed_up() {
    let peer = serve(|_| Reaction::Answer(answer("500 Oops", "text/plain", MESSAGE))).await;
    let answer = transport(config(&peer.url())).post(MESSAGE).await.unwrap();
    assert_eq!(answer.body, MESSAGE);
    assert!(answer.note.unwrap().contains("text/plain"));
}

#[tokio::test]
async fn a_refused_connection_has_not_reached_the_ca() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = transport(config(&format!("http://{address}/")))
        .post(MESSAGE)
        .await
        .unwrap_err();
    has(&error, Reached::No, TransportErrorKind::Connect);
    assert_eq!(error.kind.class(), Class::Retry);
}

#[tokio::test]
async fn a_name_without_address_has_not_reached_the_ca() {
    let error = transport(config("http://nobody.invalid/"))
        .post(MESSAGE)
        .await
        .unwrap_err();
    has(&error, Reached::No, TransportErrorKind::Resolve);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_after_the_request_time() {
    let peer = serve(|_| Reaction::Hang(Vec::new())).await;
    let error = failure(&peer).await;
    has(&error, Reached::Maybe, TransportErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stops_in_the_middle_is_given_up_too() {
    let peer = serve(|_| Reaction::Hang(good()[..good().len() - 2].to_vec())).await;
    has(&failure(&peer).await, Reached::Maybe, TransportErrorKind::Timeout);
}

#[tokio::test]
async fn the_total_time_bounds_everything() {
    let peer = serve(|_| Reaction::Hang(Vec::new())).await;
    let mut config = config(&peer.url());
    config.total_timeout = Duration::from_millis(30);
    let started = std::time::Instant::now();
    let error = transport(config).post(MESSAGE).await.unwrap_err();
    has(&error, Reached::Maybe, TransportErrorKind::Timeout);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_truncated_answer_is_interrupted() {
    for bytes in [
        Vec::new(),
        b"HTTP/1.1 200 O".to_vec(),
        good()[..good().len() - 1].to_vec(),
    ] {
        let peer = serve(move |_| Reaction::Last(bytes.clone())).await;
        let error = failure(&peer).await;
        has(&error, Reached::Maybe, TransportErrorKind::Interrupted);
        assert_eq!(error.kind.class(), Class::Retry);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_interrupted() {
    let peer = serve(|_| Reaction::Last(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec())).await;
    has(
        &failure(&peer).await,
        Reached::Maybe,
        TransportErrorKind::Interrupted,
    );
}

#[tokio::test]
async fn an_oversized_answer_is_refused_by_its_length_and_while_it_streams() {
    let announced =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/pkixcmp\r\nContent-Length: 99999999\r\n\r\n".to_vec();
    let mut streamed = b"HTTP/1.1 200 OK\r\nContent-Type: application/pkixcmp\r\n\r\n".to_vec();
    streamed.resize(5000, 0);
    // Both servers keep the connection open: only a limit that is looked at while reading comes back.
    for bytes in [announced, streamed] {
        let peer = serve(move |_| Reaction::Hang(bytes.clone())).await;
        let mut config = config(&peer.url());
        config.max_response_bytes = 1000;
        let error = transport(config).post(MESSAGE).await.unwrap_err();
        has(&error, Reached::Maybe, TransportErrorKind::TooLarge);
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let mut bytes = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    bytes.resize(1_000_000, b'x');
    let peer = serve(move |_| Reaction::Last(bytes.clone())).await;
    has(
        &failure(&peer).await,
        Reached::Maybe,
        TransportErrorKind::Interrupted,
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = serve(|_| Reaction::Answer(good())).await;
    let target = other.url();
    let peer = serve(move |_| {
        let head = format!("HTTP/1.1 307 Elsewhere\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n");
        Reaction::Answer(head.into_bytes())
    })
    .await;
    let error = failure(&peer).await;
    has(&error, Reached::Maybe, TransportErrorKind::Status(307));
    assert_eq!(error.kind.class(), Class::Misconfigured);
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn an_html_page_is_not_an_answer() {
    let peer = serve(|_| Reaction::Answer(answer("200 OK", "text/html", b"<html>"))).await;
    has(&failure(&peer).await, Reached::Maybe, TransportErrorKind::NotCmp);
}

#[tokio::test]
async fn a_busy_server_is_left_alone_for_as_long_as_it_asks() {
    let page =
        b"HTTP/1.1 503 Busy\r\nRetry-After: 17\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    let peer = serve(|_| Reaction::Answer(page.to_vec())).await;
    let error = failure(&peer).await;
    has(&error, Reached::Maybe, TransportErrorKind::Status(503));
    assert_eq!(
        (error.kind.class(), error.retry_after),
        (Class::Retry, Some(Duration::from_secs(17)))
    );
}

#[tokio::test]
async fn a_wrong_path_is_a_matter_of_settings() {
    let peer = serve(|_| Reaction::Answer(answer("404 Not Found", "text/html", b""))).await;
    let error = failure(&peer).await;
    has(&error, Reached::Maybe, TransportErrorKind::Status(404));
    assert_eq!(error.kind.class(), Class::Misconfigured);
}

fn through(proxy: &Peer, url: &str) -> HttpConfig {
    let mut config = config(url);
    config.proxy = Some(HttpProxy {
        url: format!("http://{}", proxy.address).parse().unwrap(),
        credentials: Some(ProxyCredentials {
            user: "user".to_owned(),
            password: Secret::new(b"pass:word".to_vec()),
        }),
    });
    config
}

#[tokio::test]
async fn a_proxy_gets_the_whole_url_and_our_credentials() {
    let proxy = serve(|_| Reaction::Answer(good())).await;
    let answer = transport(through(&proxy, "http://ca.invalid/cmp"))
        .post(MESSAGE)
        .await
        .unwrap();
    assert_eq!(answer.body, MESSAGE);
    let head = proxy.seen().remove(0).head;
    assert!(
        head.starts_with("POST http://ca.invalid/cmp HTTP/1.1\r\n"),
        "{head}"
    );
    assert_eq!(header(&head, "host"), Some("ca.invalid"));
    assert_eq!(
        header(&head, "proxy-authorization"),
        Some("Basic dXNlcjpwYXNzOndvcmQ=")
    );
}

#[tokio::test]
async fn the_proxy_is_passed_by_for_listed_hosts() {
    let proxy = serve(|_| Reaction::Answer(good())).await;
    let peer = serve(|_| Reaction::Answer(good())).await;
    let mut config = through(&proxy, &peer.url());
    config.no_proxy = NoProxy::parse("127.0.0.0/8");
    transport(config).post(MESSAGE).await.unwrap();
    assert_eq!((proxy.seen().len(), peer.seen().len()), (0, 1));
    assert_eq!(header(&peer.seen()[0].head, "proxy-authorization"), None);
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config("http://ca.invalid/");
    config.proxy = Some(HttpProxy {
        url: format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap(),
        credentials: None,
    });
    drop(listener);
    let error = transport(config).post(MESSAGE).await.unwrap_err();
    has(&error, Reached::No, TransportErrorKind::Proxy);
}

#[test]
fn settings_that_cannot_work_are_refused_before_any_message() {
    let refused = |change: fn(&mut HttpConfig)| {
        let mut config = config("http://ca.example/");
        change(&mut config);
        HttpTransport::new(config).unwrap_err()
    };
    let proxy = |url: &str, user: &str| HttpProxy {
        url: url.parse().unwrap(),
        credentials: Some(ProxyCredentials {
            user: user.to_owned(),
            password: Secret::new(Vec::new()),
        }),
    };
    assert_eq!(
        refused(|config| config.url = "https://ca.example/".parse().unwrap()),
        HttpConfigError::NoAnchors
    );
    assert_eq!(
        refused(|config| config.connect_timeout = Duration::ZERO),
        HttpConfigError::Zero("the connect time-out")
    );
    assert_eq!(
        refused(|config| config.max_response_bytes = 0),
        HttpConfigError::Zero("the largest answer")
    );
    let mut secured = config("http://ca.example/");
    secured.proxy = Some(proxy("https://proxy.example", "user"));
    assert_eq!(
        HttpTransport::new(secured).unwrap_err(),
        HttpConfigError::ProxyScheme
    );
    let mut colon = config("http://ca.example/");
    colon.proxy = Some(proxy("http://proxy.example", "us:er"));
    let error = HttpTransport::new(colon).unwrap_err();
    assert_eq!(error, HttpConfigError::ProxyUser);
}

#[test]
fn the_password_of_the_proxy_is_not_shown() {
    let mut config = config("http://ca.example/");
    config.proxy = Some(HttpProxy {
        url: "http://proxy.example".parse().unwrap(),
        credentials: Some(ProxyCredentials {
            user: "user".to_owned(),
            password: Secret::new(b"planted-secret".to_vec()),
        }),
    });
    let shown = format!("{config:?} {:?}", transport(config.clone()));
    assert!(
        !shown.contains("planted") && !shown.contains("112, 108"),
        "{shown}"
    );
}
