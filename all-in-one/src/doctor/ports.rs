//! Whether the listeners' ports are free where no server has the directory, and if not, which process has them.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
};

use super::{Inspection, Report};

const CHECK: &str = "ports";

pub(super) fn check(inspection: &Inspection, report: &mut Report) {
    if inspection.server.is_some() || inspection.data_dir.is_none() {
        // They are the server's, or on other machines.
        return;
    }
    let settings = &inspection.settings;
    let listeners = [
        ("gateway.listen", settings.gateway.listen),
        ("identity.http.listen", settings.identity.http.listen),
        ("order.http.listen", settings.order.http.listen),
        ("order.grpc.listen", settings.order.grpc.listen),
        ("payment.grpc.listen", settings.payment.grpc.listen),
        ("inventory.grpc.listen", settings.inventory.grpc.listen),
        ("admin.listen", settings.admin.listen),
    ];
    let complaints = listeners.iter().filter(|(key, address)| !is_free(key, *address, report)).count();
    if complaints == 0 {
        report.passed(CHECK, format!("all {} are free", listeners.len()));
    }
}

fn is_free(key: &str, address: SocketAddr, report: &mut Report) -> bool {
    match TcpListener::bind(address) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let port = address.port();
            let by = owner_of(port).unwrap_or_else(|| "another process, which `ss -ltnp` names for root".to_owned());
            let remedy = format!("stop that process, or choose another port: --set {key}={}:0", address.ip());
            report.wrong(CHECK, format!("{key} = {address} is taken by {by}"), remedy);
            false
        }
        Err(error) => {
            report.wrong(
                CHECK,
                format!("{key} = {address}: {error}"),
                format!("--set {key}=127.0.0.1:{}", address.port()),
            );
            false
        }
    }
}

/// The process that listens on a port, as far as this user may know.
fn owner_of(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let process = entry.file_name().to_string_lossy().into_owned();
        if process.parse::<u32>().is_err() {
            continue;
        }
        let Ok(files) = fs::read_dir(entry.path().join("fd")) else { continue };
        let has = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        if has.into_iter().any(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str())) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("process {process} ({})", name.trim()));
        }
    }
    None
}

/// Of a table as `proc(5)` has it: `sl local_address rem_address st … inode`.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    const LISTENING: &str = "0A";
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter_map(|fields| {
        let local = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
        (local == port && *fields.get(3)? == LISTENING).then(|| fields.get(9)?.parse().ok())?
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_on_a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let mut report = Report::default();
        assert!(!is_free("gateway.listen", address, &mut report));
        let said = report.complaints().join("");
        assert!(said.contains(&address.to_string()) && said.contains("--set gateway.listen="), "{said}");
        if cfg!(target_os = "linux") {
            assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
        }
        drop(taken);
        assert!(is_free("gateway.listen", SocketAddr::from(([127, 0, 0, 1], 0)), &mut Report::default()));
    }

    #[test]
    fn a_table_of_sockets_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1\n   \
                     1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4243 1\n";
        assert_eq!(listening_inodes(table, 8080), [4242]);
        assert_eq!(listening_inodes(table, 8081), [0; 0]);
    }
}
