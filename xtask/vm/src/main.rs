//! `cargo xtask vm`: what socketvirt does on kernels other than the running one.
//!
//! Debian's kernel packages are downloaded, never installed. Each kernel is booted by QEMU without
//! KVM, one at a time, with an initramfs made of this machine's own files. This same program runs
//! inside ([`guest`]), checks what it can and answers over a serial port.
//!
//! A kernel may refuse acceleration, with one clear line; the table must work on every one.

mod archive;
mod checks;
mod guest;
mod kernels;
mod machine;
mod modules;
mod programs;
mod report;
mod repositories;

use std::{fs, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use xtask::{
    build, progress,
    setup::{self, Purpose},
    workspace,
};

use self::{kernels::Wanted, report::Report};

#[derive(Parser)]
#[command(
    name = "cargo xtask vm",
    bin_name = "cargo xtask vm",
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    inside: Option<Inside>,
    #[command(flatten)]
    options: Options,
}

/// The parts of this program that run inside a machine.
#[derive(Subcommand)]
enum Inside {
    /// The checks; init starts them
    #[command(hide = true)]
    Guest,
    /// A client of the kernel's NFS server; such a check starts it
    #[command(hide = true)]
    Nfs,
}

/// Boot kernels that Debian offers with QEMU and show what works on each.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
struct Options {
    /// A version that Debian offers (6.1, 6.12, 6.18.5), `newest`, or a file: a kernel image or
    /// package. More than once for several; 6.1, 6.12 and newest without it
    #[arg(long, value_name = "6.1|6.12|newest|FILE")]
    kernel: Vec<Wanted>,
    /// Run this program of integration tests alone; more than once for several
    #[arg(long, value_name = "NAME", value_parser = checks::names(), conflicts_with = "quick")]
    test: Vec<String>,
    /// Of the integration tests, run enrolments one after another alone: minutes a kernel instead of an hour
    #[arg(long)]
    quick: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Look for newer packages; without it, once a day
    #[arg(long)]
    update: bool,
    /// Kernels of Debian that match, and nothing else
    #[arg(long)]
    list: bool,
}

impl Options {
    fn tests(&self) -> Vec<&str> {
        checks::TESTS
            .iter()
            .filter(|tests| tests.quick || !self.quick)
            .map(|tests| tests.program)
            .filter(|name| self.test.is_empty() || self.test.iter().any(|one| one == name))
            .collect()
    }
}

/// Where downloads, images and logs are kept.
#[derive(Clone)]
struct Folder(PathBuf);

impl Folder {
    fn open() -> Result<Self> {
        let folder = workspace::target_dir()?.join("vm");
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// A folder below it, made when it is missing.
    fn below(&self, name: &str) -> Result<PathBuf> {
        let folder = self.0.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    progress::ended(match arguments.inside {
        Some(Inside::Guest) => guest::run(),
        Some(Inside::Nfs) => guest::ask(),
        None => run(&arguments.options),
    })
}

fn run(options: &Options) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the machine that QEMU shows is x86-64, so only binaries of x86-64 run inside");
    }
    let start = Instant::now();
    let folder = Folder::open()?;
    let wanted = if options.kernel.is_empty() {
        Wanted::usual()
    } else {
        options.kernel.clone()
    };
    if options.list {
        for offer in kernels::offers(&folder, options.update)? {
            println!("{offer}");
        }
        return Ok(());
    }
    setup::run(Purpose::Vm)?;
    let binary = build::release()?;
    let programs = programs::collect(&binary, &options.tests())?;
    let kernels = kernels::fetch(&folder, &wanted, options.update)?;
    // One machine at a time: each takes a whole CPU.
    let alone = fs::File::create(folder.0.join("lock")).context("making the lock")?;
    alone.lock().context("waiting for another `xtask vm`")?;

    let mut reports: Vec<Report> = Vec::new();
    for kernel in &kernels {
        progress::step(&format!("vm: Linux {}", kernel.version));
        let initramfs = archive::make(&folder, kernel, &programs)?;
        let report = machine::boot(&folder, kernel, &initramfs)?;
        if !options.json {
            println!("{}", report.text(progress::Style::stdout()));
        }
        reports.push(report);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    }
    progress::note(&format!("done in {}", progress::elapsed(start.elapsed())));
    let failed: Vec<_> = reports
        .iter()
        .filter(|report| report.failed())
        .map(|report| report.kernel.as_str())
        .collect();
    if !failed.is_empty() {
        bail!("not as it must be on Linux {}", failed.join(", "));
    }
    Ok(())
}
