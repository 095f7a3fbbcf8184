//! The site is bounded in bytes, in time and in connections.

mod http;

use adit::config::Settings;
use adit::observe::Status;
use http::{Site, get, say};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_head_too_large_is_refused() {
    let site = Site::start(Status::default(), &[]).await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    assert_eq!(say(site.addr, long.as_bytes()).await.code, 431);
    let many = format!(
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{}\r\n",
        "X: x\r\n".repeat(100)
    );
    assert_eq!(say(site.addr, many.as_bytes()).await.code, 431);
    assert_eq!(
        say(site.addr, b"\x16\x03\x01 what is this\r\n\r\n").await.code,
        400
    );
    assert_eq!(get(site.addr, "/").await.code, 200, "the site is well");
}

#[tokio::test]
async fn a_body_is_never_read() {
    let site = Site::start(Status::default(), &[]).await;
    let head = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\nabc";
    assert_eq!(say(site.addr, head.as_bytes()).await.code, 405);
}

#[tokio::test]
async fn two_hosts_or_none_are_refused() {
    let site = Site::start(Status::default(), &[]).await;
    let two = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(say(site.addr, two).await.code, 421);
    assert_eq!(say(site.addr, b"GET / HTTP/1.0\r\n\r\n").await.code, 421);
}

/// A peer that trickles its request must not hold a place.
#[tokio::test]
async fn a_request_that_trickles_is_cut_off() {
    let site = Site::with(
        Status::default(),
        &[("http.connections_max", "2"), ("http.request_ms", "100")],
    )
    .await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(site.addr).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        slow.push(stream);
    }
    // Both places are taken: this one waits in the kernel's queue until they are free again.
    assert_eq!(get(site.addr, "/").await.code, 200);
    for mut stream in slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn one_connection_asks_many_times() {
    let site = Site::start(Status::default(), &[]).await;
    let mut stream = TcpStream::connect(site.addr).await.unwrap();
    for _ in 0..3 {
        stream
            .write_all(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}}") {
            assert_ne!(
                stream.read_buf(&mut answer).await.unwrap(),
                0,
                "it must stay open"
            );
        }
        assert!(answer.starts_with(b"HTTP/1.1 404"));
    }
}

#[tokio::test]
async fn stopping_ends_the_site_at_once() {
    let site = Site::start(Status::default(), &[]).await;
    let _idle = TcpStream::connect(site.addr).await.unwrap();
    site.stop.stop();
    site.task.await.unwrap();
    assert!(TcpStream::connect(site.addr).await.is_err());
}

#[tokio::test]
async fn a_busy_port_is_replaced_only_when_nobody_asked_for_it() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let asked = Settings::with(&[("http.listen", &addr)]).unwrap().http;
    let refused = adit::http::bind(&asked, true).await.unwrap_err();
    assert!(
        refused.message.contains(&addr) && refused.hint.contains("--http"),
        "{refused}"
    );
    let mut implicit = asked.clone();
    if let adit::config::HttpListen::On(listen) = &mut implicit.listen {
        listen.explicit = false;
    }
    assert!(
        adit::http::bind(&implicit, false).await.is_err(),
        "a pool keeps its port"
    );
    let server = adit::http::bind(&implicit, true).await.unwrap().unwrap();
    assert_ne!(server.addr(), taken.local_addr().unwrap());
    let off = Settings::with(&[("http.listen", "off")]).unwrap().http;
    assert!(adit::http::bind(&off, true).await.unwrap().is_none());
}
