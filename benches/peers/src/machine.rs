//! On what it was measured.

/// Says which machine and servers these are.
pub(crate) fn describe() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let of = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(
            || "unknown".to_owned(),
            |(_, value)| value.trim().to_owned(),
        )
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let versions = std::env::var("LONGHAUL_BENCH_VERSIONS").unwrap_or_default();
    format!(
        "- Machine: {cores} cores of {}, {} of memory, Linux {}.\n- Server: {}, with its default settings and \
         `pg_stat_statements`: `fsync=on`, `synchronous_commit=on`.\n",
        of(&read("/proc/cpuinfo"), "model name"),
        of(&read("/proc/meminfo"), "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
        versions.split(", ").next().unwrap_or_default(),
    )
}
