//! Logins by OIDC: the client asks for a token, and says so when it gets none.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use crate::{
    cluster::{Cluster, PATIENCE},
    faults::told,
    process::Setup,
};

/// Nothing that is shown may hold it.
const SECRET: &str = "s3cr3t-of-ann";

/// Reads one request: its head and its body.
fn read_request(stream: &TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "the request ends in its head: {head}");
    }
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.expect("a length")];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

/// Who gives out tokens, to nobody: the port, and the requests.
fn refusing_issuer() -> (u16, mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, requests) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let request = read_request(&stream);
            let body = r#"{"error":"invalid_client"}"#;
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
                 connection: close\r\n\r\n{body}"
            )
            .unwrap();
            if heard.send(request).is_err() {
                break;
            }
        }
    });
    (port, requests)
}

#[test]
fn a_client_that_is_given_no_token_is_told_and_its_secret_is_not_shown() {
    let cluster = Cluster::connect();
    let setup = Setup::new(&cluster, 1);
    for subcommand in ["run", "check"] {
        let (port, requests) = refusing_issuer();
        let properties = format!(
            r#"kafka.properties={{"security.protocol"="SASL_PLAINTEXT","sasl.mechanism"="OAUTHBEARER","sasl.oauthbearer.method"="oidc","sasl.oauthbearer.client.id"="flights","sasl.oauthbearer.client.secret"="{SECRET}","sasl.oauthbearer.token.endpoint.url"="http://127.0.0.1:{port}/token"}}"#
        );
        let finished = setup.finish(&[subcommand], &[&properties]);
        let (head, body) = requests.recv_timeout(PATIENCE).expect("the client asks for a token");
        assert!(head.starts_with("POST /token HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("Basic ZmxpZ2h0czpzM2NyM3Qtb2YtYW5u\r\n"), "not `flights:{SECRET}`: {head}");
        assert!(body.contains("grant_type=client_credentials"), "{body}");

        assert!(!format!("{finished:?}").contains(SECRET), "{finished:?}");
        let lines = told(&finished, 1);
        assert_eq!(lines.len(), 1, "{finished:?}");
        assert!(lines[0].starts_with("tailwater: this client is not let in at"), "{finished:?}");
        assert!(lines[0].contains("invalid_client"), "the answer to its request is told: {finished:?}");
        assert!(lines[0].contains("check its name, its secret and sasl.mechanism: sasl.*"), "{finished:?}");
    }
}
