//! `cargo xtask capnp`: the checked-in Cap'n Proto code of `adit-node`, made from Bitcoin Core's schemas.
//!
//! Building adit never needs the schema compiler; only this command does (the `capnp` program, which
//! `cargo xtask peers` installs). The schemas are those of the Bitcoin Core that the tests run against.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::exec::Failure;
use crate::peers::{Cache, core_source};

/// Schemas with interfaces or types that the node room speaks, below the source of Bitcoin Core.
const SCHEMAS: [&str; 6] = [
    "src/ipc/capnp/init.capnp",
    "src/ipc/capnp/echo.capnp",
    "src/ipc/capnp/common.capnp",
    "src/ipc/capnp/mining.capnp",
    "src/ipc/capnp/rpc.capnp",
    PROXY,
];
/// Imported by the others as `/mp/proxy.capnp`.
const PROXY: &str = "src/ipc/libmultiprocess/include/mp/proxy.capnp";
/// Our own, below the root of the workspace: what other versions speak. They give the same interfaces other methods, so
/// each is compiled by itself.
const VERSIONS: [&str; 2] = [
    "crates/node/schema/core30.capnp",
    "crates/node/schema/core32.capnp",
];
/// Where the code goes, below the root of the workspace.
const OUTPUT: &str = "crates/node/src/ipc/generated";

/// What to generate.
#[derive(Args)]
pub(crate) struct Options {
    /// Write nothing: exit with 1 when the checked-in code differs from what would be generated.
    #[arg(long)]
    check: bool,
}

/// Generates, then writes or compares.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let cache = Cache::open()?;
    let stage = cache.build("capnp");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or("xtask stands outside a workspace")?;
    let fresh = generate(&core_source(&cache)?, root, &stage)?;
    let output = root.join(OUTPUT);
    let changed: Vec<&PathBuf> = fresh.iter().filter(|path| differs(path, &output)).collect();
    if options.check {
        changed
            .iter()
            .for_each(|path| eprintln!("capnp: {} is not up to date", name(path)));
        return Ok(if changed.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    fs::create_dir_all(&output).map_err(|e| format!("{}: {e}", output.display()))?;
    for path in &changed {
        let to = output.join(name(path));
        fs::copy(path, &to).map_err(|e| format!("cannot write {}: {e}", to.display()))?;
        println!("capnp: wrote {}", to.display());
    }
    println!("capnp: {} files, {} changed", fresh.len(), changed.len());
    Ok(ExitCode::SUCCESS)
}

/// Compiles the schemas into the stage; returns the files made.
fn generate(source: &Path, root: &Path, stage: &Path) -> Result<Vec<PathBuf>, Failure> {
    let wrong = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let out = stage.join("out");
    for folder in [stage.join("mp"), out.clone()] {
        fs::create_dir_all(&folder).map_err(|e| wrong(&folder, e))?;
    }
    let mut compiler = compiler(stage, &out);
    for schema in SCHEMAS {
        let from = source.join(schema);
        let folder = if schema == PROXY {
            stage.join("mp")
        } else {
            stage.to_path_buf()
        };
        let to = folder.join(name(&from));
        fs::copy(&from, &to).map_err(|e| wrong(&from, e))?;
        compiler.file(&to);
    }
    let failed = |e| format!("capnp: {e}\nrun `cargo xtask peers` once, it installs the compiler");
    compiler.run().map_err(failed)?;
    for schema in VERSIONS {
        let from = root.join(schema);
        let to = stage.join(name(&from));
        fs::copy(&from, &to).map_err(|e| wrong(&from, e))?;
        self::compiler(stage, &out).file(&to).run().map_err(failed)?;
    }
    let made = |schema: &&str| {
        let folder = if *schema == PROXY {
            out.join("mp")
        } else {
            out.clone()
        };
        folder.join(name(Path::new(schema)).replace(".capnp", "_capnp.rs"))
    };
    Ok(SCHEMAS.iter().chain(&VERSIONS).map(made).collect())
}

fn compiler(stage: &Path, out: &Path) -> capnpc::CompilerCommand {
    let mut compiler = capnpc::CompilerCommand::new();
    compiler.import_path(stage).src_prefix(stage).output_path(out);
    compiler.default_parent_module(vec!["ipc".into(), "generated".into()]);
    compiler
}

fn differs(fresh: &Path, output: &Path) -> bool {
    let (new, old) = (fs::read(fresh), fs::read(output.join(name(fresh))));
    !matches!((new, old), (Ok(new), Ok(old)) if new == old)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
