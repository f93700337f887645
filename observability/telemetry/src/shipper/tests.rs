//! Sinks that are down, stuck, cut off and restarted: every line is delivered or counted.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// What a process does: a shipper, and a sender.
struct Ships {
    shipper: Shipper,
    sender: Sender,
    meters: ShipperMeters,
    next: u64,
}

impl Ships {
    fn to(sink: Sink, queue_max: usize) -> Self {
        let meters = ShipperMeters::default();
        let shipper = Shipper::start(sink, queue_max, meters.clone()).unwrap();
        let sender = shipper.sender();
        Self { shipper, sender, meters, next: 0 }
    }

    /// Sends that many lines, each with a number of its own.
    fn lines(&mut self, count: u64, padding: usize) {
        for _ in 0..count {
            let padding = "x".repeat(padding);
            self.sender.send(format!("{} {padding}\n", self.next).into_bytes().into());
            self.next += 1;
        }
    }

    fn until(&self, what: &str, holds: impl Fn(&ShipperMeters) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(&self.meters) {
            assert!(Instant::now() < end, "{what}: {:?}", self.meters);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends as a process does. Everything is accounted for then.
    fn end(self) -> ShipperMeters {
        self.shipper.end();
        self.shipper.ended(Instant::now() + PATIENCE);
        let meters = self.meters;
        assert_eq!(meters.lines.get(), self.next);
        assert_eq!(meters.delivered.get() + meters.dropped_in_all(), self.next, "{meters:?}");
        meters
    }
}

fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn reason(meters: &ShipperMeters, why: LossLabels) -> u64 {
    meters.dropped.get_or_create(&why).get()
}

/// The numbers of the lines on a connection, up to its end, however it ends.
fn numbers(stream: impl io::Read) -> Vec<u64> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.filter_map(|line| line.split(' ').next()?.parse().ok()).collect()
}

#[test]
fn a_sink_that_is_well_gets_every_line_once() {
    let (listener, address) = listening();
    let reader = std::thread::spawn(move || numbers(listener.accept().unwrap().0));
    let mut ships = Ships::to(Sink::plain(&address.to_string()), 100_000);
    for _ in 0..10 {
        ships.lines(500, 700);
        std::thread::sleep(Duration::from_millis(2));
    }
    let meters = ships.end();
    assert_eq!((meters.delivered.get(), meters.dropped_in_all(), meters.repeated.get()), (5_000, 0, 0));
    assert_eq!(reader.join().unwrap(), (0..5_000).collect::<Vec<_>>());
}

#[test]
fn a_sink_that_is_down_costs_what_the_queue_cannot_hold() {
    let address = listening().1;
    let mut ships = Ships::to(Sink::plain(&address.to_string()), 64);
    ships.lines(30_000, 1_000);
    let meters = ships.end();
    assert_eq!(meters.delivered.get(), 0);
    assert!(reason(&meters, QUEUE_FULL) > 1_000, "{meters:?}");
    assert!(reason(&meters, END_OF_PROCESS) > 0, "{meters:?}");
    assert_eq!(reason(&meters, UNACKNOWLEDGED), 0, "nothing was written: {meters:?}");
}

#[test]
fn a_stuck_sink_has_nothing_and_everything_is_counted() {
    // Accepts by its backlog, and never reads.
    let (listener, address) = listening();
    let mut ships = Ships::to(Sink::plain(&address.to_string()), 1_000);
    ships.lines(30_000, 1_000);
    ships.until("the sink takes no more", |meters| reason(meters, QUEUE_FULL) > 0);
    // As long as it takes to see that it takes nothing.
    std::thread::sleep(FLUSH_MAX);
    let began = Instant::now();
    let meters = ships.end();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!((meters.delivered.get(), meters.dropped_in_all()), (0, 30_000));
    assert!(reason(&meters, UNACKNOWLEDGED) > 0, "{meters:?}");
    drop(listener);
}

#[test]
fn five_resets_lose_no_line() {
    let (listener, address) = listening();
    let (stop, stopped) = mpsc::channel::<()>();
    let reader = std::thread::spawn(move || {
        let (mut had, mut resets) = (BTreeSet::new(), 0);
        while resets < 5 {
            let stream = BufReader::new(listener.accept().unwrap().0);
            let mut stream = stream;
            for _ in 0..200 {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                had.extend(line.split(' ').next().and_then(|number| number.parse::<u64>().ok()));
            }
            // What is in its buffers is lost with it, as when the process is killed.
            rustix::net::sockopt::set_socket_linger(stream.get_ref(), Some(Duration::ZERO)).unwrap();
            drop(stream);
            resets += 1;
            let _ = stop.send(());
        }
        had.extend(numbers(listener.accept().unwrap().0));
        had
    });
    let mut ships = Ships::to(Sink::plain(&address.to_string()), 100_000);
    for _ in 0..5 {
        // Until the sink has had enough.
        while stopped.try_recv().is_err() {
            ships.lines(50, 300);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    ships.lines(1_000, 300);
    ships.until("all is delivered", |meters| meters.delivered.get() == meters.lines.get());
    let sent = ships.next;
    let meters = ships.end();
    assert!(meters.repeated.get() > 0 && meters.dropped_in_all() == 0, "{meters:?}");
    assert_eq!(reader.join().unwrap(), (0..sent).collect::<BTreeSet<_>>(), "sent is delivered");
}

#[test]
fn a_sink_that_restarts_in_order_gets_no_line_twice() {
    let (listener, address) = listening();
    let mut ships = Ships::to(Sink::plain(&address.to_string()), 1_000);
    let mut had = Vec::new();
    for round in 0..3 {
        ships.lines(10, 100);
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        for _ in 0..10 {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            had.extend(numbers(line.as_bytes()));
        }
        // Everything is read: the connection ends in order.
        drop(stream);
        ships.until("the end is seen", |meters| meters.delivered.get() == (round + 1) * 10);
    }
    let meters = ships.end();
    assert_eq!((meters.repeated.get(), meters.dropped_in_all()), (0, 0));
    assert_eq!(had, (0..30).collect::<Vec<_>>());
}

#[test]
fn the_thread_wakes_once_for_a_batch() {
    let (listener, address) = listening();
    let mut ships = Ships::to(Sink::plain(&address.to_string()), 1_000);
    ships.lines(1, 10);
    let mut stream = listener.accept().unwrap().0;
    let mut read = vec![0; 64 * 1024];
    assert!(stream.read(&mut read).unwrap() > 0);
    ships.lines(100, 10);
    // All of them come in one write, however many callers sent them.
    let count = stream.read(&mut read).unwrap();
    assert_eq!(numbers(&read[..count]).len(), 100);
    drop(ships);
}

/// A server's side of TLS, and the certificate that it is trusted by.
fn tls_server() -> (Arc<rustls::ServerConfig>, tempfile::NamedTempFile) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), own.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    (Arc::new(config), ca)
}

#[test]
fn lines_go_through_tls_to_a_sink_that_is_trusted() {
    let (server, ca) = tls_server();
    let (listener, address) = listening();
    let reader = std::thread::spawn(move || {
        let session = rustls::ServerConnection::new(server).unwrap();
        numbers(rustls::StreamOwned::new(session, listener.accept().unwrap().0))
    });
    let sink = Sink::tls(&format!("localhost:{}", address.port()), Some(ca.path())).unwrap();
    let mut ships = Ships::to(sink, 100_000);
    ships.lines(5_000, 700);
    ships.until("all is delivered", |meters| meters.delivered.get() == 5_000);
    assert_eq!(ships.end().dropped_in_all(), 0);
    assert_eq!(reader.join().unwrap(), (0..5_000).collect::<Vec<_>>());
}

#[test]
fn a_sink_that_is_not_trusted_gets_no_line() {
    let ((server, _), (_, other_ca)) = (tls_server(), tls_server());
    let (listener, address) = listening();
    let reader = std::thread::spawn(move || {
        let session = rustls::ServerConnection::new(server).unwrap();
        numbers(rustls::StreamOwned::new(session, listener.accept().unwrap().0))
    });
    let sink = Sink::tls(&format!("localhost:{}", address.port()), Some(other_ca.path())).unwrap();
    let mut ships = Ships::to(sink, 100);
    ships.lines(10, 10);
    assert_eq!(reader.join().unwrap(), Vec::<u64>::new());
    let meters = ships.end();
    assert_eq!((meters.delivered.get(), reason(&meters, END_OF_PROCESS)), (0, 10));
}
