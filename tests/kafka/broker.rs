//! A broker of a test's own, which it may kill, cut off from a client, or lock up.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{cluster::PATIENCE, proxy::Proxy, wire};

/// How often a broker that starts is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Of the keystore, which no test looks into.
const KEYSTORE_PASSWORD: &str = "keystore";

/// What a broker has beyond one plain listener.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Further properties of the server; they win over its own.
    pub properties: &'a [(&'a str, &'a str)],
    /// Whether it has a second plain listener, which clients reach through a proxy.
    pub is_proxied: bool,
    /// Names and passwords. Where there are any, it has a listener that takes only them (TLS and SCRAM-SHA-512), and
    /// they have no right that they are not given; the plain listener is for the test, and allowed everything.
    pub users: &'a [(&'a str, &'a str)],
}

/// An Apache Kafka with one broker. It ends when it is dropped, and its data goes; it ends too should the test's process
/// be killed.
pub struct Broker {
    server: Option<Server>,
    home: TempDir, // after the server, which writes to it as long as it is there
    brokers: String,
    proxied: Option<(String, Proxy)>,
    secure_brokers: Option<String>,
}

/// The broker's process.
struct Server {
    child: Child,
    /// Ends the thread that started it.
    _starter: mpsc::Sender<()>,
}

impl Broker {
    /// Starts one that is ready for requests.
    pub fn start(options: &Options<'_>) -> Self {
        // A second and third try: between its choice and its use a port may be taken.
        (0..3)
            .find_map(|_| Self::try_start(options).inspect_err(|told| println!("{told}")).ok())
            .unwrap_or_else(|| panic!("the broker did not start; what it says stands above"))
    }

    fn try_start(options: &Options<'_>) -> Result<Self, String> {
        let home = tempfile::Builder::new().prefix("tailwater-kafka-").tempdir().unwrap();
        let [plain, controller, proxied, secure] = std::array::from_fn(|_| free_port());
        let proxy = options.is_proxied.then(|| Proxy::to(proxied));
        let is_secure = !options.users.is_empty();

        let mut listeners = vec![("PLAINTEXT", plain, plain)];
        listeners.extend(proxy.as_ref().map(|proxy| ("PROXIED", proxied, proxy.port())));
        listeners.extend(is_secure.then_some(("SECURE", secure, secure)));
        let listed = |port: fn(&(&str, u16, u16)) -> u16| {
            let listed: Vec<_> = listeners
                .iter()
                .map(|listener| format!("{}://127.0.0.1:{}", listener.0, port(listener)))
                .collect();
            listed.join(",")
        };
        // A broker that was killed is let in again only after its last session has ended: 3 s instead of 9.
        let mut properties = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             listeners={listeners},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners={advertised}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=PLAINTEXT\n\
             controller.listener.names=CONTROLLER\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             log.dirs={data}\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=2\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=2\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             share.coordinator.state.topic.num.partitions=1\n\
             broker.session.timeout.ms=3000\n\
             broker.heartbeat.interval.ms=500\n\
             group.initial.rebalance.delay.ms=0\n\
             auto.create.topics.enable=false\n\
             log.retention.hours=-1\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             allow.everyone.if.no.acl.found={everyone}\n",
            listeners = listed(|&(_, port, _)| port),
            advertised = listed(|&(_, _, port)| port),
            data = home.path().join("data").display(),
            everyone = !is_secure,
        );
        if is_secure {
            make_certificate(home.path());
            // On the plain listener everybody is ANONYMOUS, and nobody is on the secure one.
            properties += &format!(
                "super.users=User:ANONYMOUS\n\
                 listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512\n\
                 listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
                 listener.name.secure.ssl.keystore.type=PKCS12\n\
                 listener.name.secure.ssl.keystore.location={}\n\
                 listener.name.secure.ssl.keystore.password={KEYSTORE_PASSWORD}\n",
                keystore(home.path()).display(),
            );
        }
        for (key, value) in options.properties {
            properties += &format!("{key}={value}\n"); // of two values the last one counts
        }
        fs::write(home.path().join("server.properties"), properties).unwrap();
        format_storage(home.path(), options.users);

        let address = |port| format!("127.0.0.1:{port}");
        let mut broker = Self {
            brokers: address(plain),
            proxied: proxy.map(|proxy| (address(proxy.port()), proxy)),
            secure_brokers: is_secure.then(|| address(secure)),
            server: None,
            home,
        };
        broker.serve()?;
        Ok(broker)
    }

    /// For `kafka.brokers` of whoever reaches it directly.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// For `kafka.brokers` of whoever reaches it through the proxy.
    pub fn proxied_brokers(&self) -> &str {
        &self.proxied.as_ref().expect("the broker was started with a proxy").0
    }

    /// The network before `proxied_brokers`.
    pub fn proxy(&self) -> &Proxy {
        &self.proxied.as_ref().expect("the broker was started with a proxy").1
    }

    /// For `kafka.brokers` of its users.
    pub fn secure_brokers(&self) -> &str {
        self.secure_brokers.as_deref().expect("the broker was started with users")
    }

    /// The certificate authority that its users have to trust.
    pub fn ca(&self) -> PathBuf {
        self.home.path().join("ca.pem")
    }

    /// Kills it, without a chance to clean up.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Starts it after a kill, on the same ports and with the data that it had.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "it runs");
        self.serve().unwrap_or_else(|told| panic!("{told}"));
    }

    /// Starts the process, and waits until it answers.
    fn serve(&mut self) -> Result<(), String> {
        let mut server = Server::start(self.home.path());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = server.child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.home.path().join("broker.log")).unwrap();
                return Err(format!("the broker does not answer ({ended:?}); it says:\n{log}"));
            }
            // ApiVersions is answered only once everything is.
            if wire::ask(&self.brokers, 18, 0, &[]).is_ok() {
                self.server = Some(server);
                return Ok(());
            }
            thread::sleep(LOOK);
        }
    }
}

impl Server {
    fn start(home: &Path) -> Self {
        let mut java = java();
        java.args(["-Xmx256m", "-XX:+UseSerialGC", "kafka.Kafka"]).arg(home.join("server.properties"));
        let log = File::options().create(true).append(true).open(home.join("broker.log")).unwrap();
        // Should the test's process be killed, the broker goes with it. What the kernel watches is the thread that
        // starts it, and a test's own thread may end before a broker that others use too.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(java.get_program()).args(java.get_args());
        let (starter, ended) = mpsc::channel();
        let (started, child) = mpsc::channel();
        thread::spawn(move || {
            for command in [&mut command, &mut java] {
                let out = command
                    .stdin(Stdio::null())
                    .stdout(log.try_clone().unwrap())
                    .stderr(log.try_clone().unwrap());
                match out.spawn() {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {} // not everybody has setpriv
                    child => {
                        started.send(child).unwrap();
                        break;
                    }
                }
            }
            ended.recv().ok();
        });
        Self { child: child.recv().expect("java is there").unwrap(), _starter: starter }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok(); // it may have ended
        self.child.wait().ok();
    }
}

/// Java with Kafka's jars.
fn java() -> Command {
    let libs = std::env::var("TAILWATER_KAFKA_LIBS").unwrap_or_else(|_| {
        panic!(
            "a broker of a test's own needs Kafka: run `make test`, or set TAILWATER_KAFKA_LIBS to its jars"
        )
    });
    let mut java = Command::new("java");
    java.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-XX:TieredStopAtLevel=1", "-cp"]);
    java.arg(format!("{libs}/*"));
    java
}

fn format_storage(home: &Path, users: &[(&str, &str)]) {
    let mut java = java();
    java.args(["kafka.tools.StorageTool", "format", "-t", "AAAAAAAAQACAAAAAAAAAAQ", "-c"]);
    java.arg(home.join("server.properties"));
    for (name, password) in users {
        java.args(["--add-scram", &format!("SCRAM-SHA-512=[name={name},password={password}]")]);
    }
    finish(&mut java);
}

/// A key of the broker's, with a certificate that it signs itself: so it is its own authority.
fn make_certificate(home: &Path) {
    let keystore = keystore(home);
    let keytool = |arguments: &[&str]| {
        let mut keytool = Command::new("keytool");
        keytool.args(arguments).args([
            "-alias",
            "broker",
            "-storetype",
            "PKCS12",
            "-storepass",
            KEYSTORE_PASSWORD,
        ]);
        finish(keytool.arg("-keystore").arg(&keystore));
    };
    keytool(&[
        "-genkeypair",
        "-keyalg",
        "EC",
        "-dname",
        "CN=broker",
        "-ext",
        "san=ip:127.0.0.1",
        "-ext",
        "bc=ca:true",
    ]);
    keytool(&["-exportcert", "-rfc", "-file", home.join("ca.pem").to_str().unwrap()]);
}

fn keystore(home: &Path) -> PathBuf {
    home.join("broker.p12")
}

fn finish(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&told));
}

/// A port that nobody listens on, below those that the kernel lends to outgoing connections: such a loan could take
/// it while its broker is down.
pub fn free_port() -> u16 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id() * 97; // so that runs beside each other rarely meet
    loop {
        let next = first.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = 20_000 + u16::try_from(next).expect("below 12,000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
