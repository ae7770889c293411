//! The container engine: which client works here, and what must be removed afterwards.
//!
//! Every object carries a label with the process that made it, so that an interrupted run is cleaned up by the next.

use std::process::Command;

use crate::run;

const LABEL: &str = "qdrant-ecs.image-lane";

/// A client that reaches an engine and can build with BuildKit.
pub struct Docker {
    program: String,
}

impl Docker {
    /// The first client that works; BuildKit is needed, since the Dockerfile has stages that this machine cannot
    /// build and the classic builder builds every stage. Newer clients have it as a plug-in that may be missing,
    /// older ones have it inside, and a machine may hold both.
    ///
    /// # Errors
    /// What is lacking, as one line.
    pub fn find() -> Result<Self, String> {
        let mut lack = "no container engine answers".to_owned();
        for program in ["docker", "/usr/bin/docker"] {
            let docker = Self {
                program: program.to_owned(),
            };
            if docker
                .run(&["version", "--format", "{{.Server.Version}}"])
                .is_err()
            {
                continue;
            }
            match docker.builds_with_buildkit() {
                Ok(()) => return Ok(docker),
                Err(_) => {
                    lack = "an engine answers, but its client cannot build with BuildKit".to_owned()
                }
            }
        }
        Err(lack)
    }

    /// The first client that reaches an engine, whatever it can build.
    ///
    /// # Errors
    /// What is lacking, as one line.
    pub fn find_any() -> Result<Self, String> {
        ["docker", "/usr/bin/docker"]
            .map(|program| Self {
                program: program.to_owned(),
            })
            .into_iter()
            .find(|docker| {
                docker
                    .run(&["version", "--format", "{{.Server.Version}}"])
                    .is_ok()
            })
            .ok_or_else(|| "no container engine answers".to_owned())
    }

    /// A build with a stage that must be left out, and no base image.
    fn builds_with_buildkit(&self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let dockerfile =
            "FROM scratch AS left-out\nCOPY absent /\nFROM scratch AS wanted\nCOPY Dockerfile /\n";
        std::fs::write(folder.path().join("Dockerfile"), dockerfile)?;
        let mut command = self.command();
        command
            .env("DOCKER_BUILDKIT", "1")
            .args(["build", "--quiet", "--target", "wanted"]);
        let image = run::output(command.arg(folder.path()))?;
        self.run(&["image", "rm", "--force", &image])?;
        Ok(())
    }

    /// The bare client.
    pub fn command(&self) -> Command {
        Command::new(&self.program)
    }

    /// Runs a client command and gives what it printed.
    ///
    /// # Errors
    /// As [`run::output`].
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run::output(self.command().args(arguments))
    }
}

/// Names of this run's objects, all removed when it ends, also by an error.
pub struct Leftovers<'a> {
    docker: &'a Docker,
    mine: String,
    containers: Vec<String>,
    images: Vec<String>,
    networks: Vec<String>,
    volumes: Vec<String>,
}

impl<'a> Leftovers<'a> {
    /// Nothing yet.
    pub fn new(docker: &'a Docker) -> Self {
        Self {
            docker,
            mine: std::process::id().to_string(),
            containers: Vec::new(),
            images: Vec::new(),
            networks: Vec::new(),
            volumes: Vec::new(),
        }
    }

    /// The label for containers, networks and volumes.
    pub fn label(&self) -> String {
        format!("{LABEL}={}", self.mine)
    }

    /// A name that no other run uses.
    fn name(&self, what: &str) -> String {
        format!("qdrant-ecs-lane-{}-{what}", self.mine)
    }

    /// Name for an image that is about to be made.
    pub fn image(&mut self, what: &str) -> String {
        let name = self.name(what);
        self.images.push(name.clone());
        name
    }

    /// Name for a container that is about to be made.
    pub fn container(&mut self, what: &str) -> String {
        let name = self.name(what);
        self.containers.push(name.clone());
        name
    }

    /// Makes a network.
    ///
    /// # Errors
    /// As [`run::output`].
    pub fn network(&mut self) -> anyhow::Result<String> {
        let name = self.name("network");
        self.networks.push(name.clone());
        self.docker
            .run(&["network", "create", "--label", &self.label(), &name])?;
        Ok(name)
    }

    /// Makes an empty volume.
    ///
    /// # Errors
    /// As [`run::output`].
    pub fn volume(&mut self) -> anyhow::Result<String> {
        let name = self.name("shared");
        self.volumes.push(name.clone());
        self.docker
            .run(&["volume", "create", "--label", &self.label(), &name])?;
        Ok(name)
    }

    /// The containers named so far.
    pub fn containers(&self) -> &[String] {
        &self.containers
    }
}

impl Drop for Leftovers<'_> {
    fn drop(&mut self) {
        let kinds: [(&[&str], &[String]); 4] = [
            (&["rm", "--force", "--volumes"], &self.containers),
            (&["network", "rm"], &self.networks),
            (&["volume", "rm", "--force"], &self.volumes),
            (&["image", "rm", "--force"], &self.images),
        ];
        for (remove, names) in kinds {
            for name in names {
                // Some were named but never made: then there is nothing to remove and nothing to say.
                let _already_gone = run::output(self.docker.command().args(remove).arg(name));
            }
        }
    }
}

/// Removes what runs that were interrupted have left; those whose process still lives are let be.
///
/// # Errors
/// The engine does not list or remove them.
pub fn remove_abandoned(docker: &Docker) -> anyhow::Result<()> {
    let filter = format!("label={LABEL}");
    let format = format!("{{{{.Label \"{LABEL}\"}}}} {{{{.Name}}}}");
    let format_of_containers = format!("{{{{.Label \"{LABEL}\"}}}} {{{{.Names}}}}");
    let kinds: [(&[&str], &str, &[&str]); 3] = [
        (
            &["ps", "--all"],
            &format_of_containers,
            &["rm", "--force", "--volumes"],
        ),
        (&["network", "ls"], &format, &["network", "rm"]),
        (&["volume", "ls"], &format, &["volume", "rm"]),
    ];
    for (list, format, remove) in kinds {
        let mut command = docker.command();
        command
            .args(list)
            .args(["--filter", &filter, "--format", format]);
        for line in run::output(&mut command)?.lines() {
            let Some((process, name)) = line.split_once(' ') else {
                continue;
            };
            if !std::path::Path::new("/proc").join(process).exists() {
                run::output(docker.command().args(remove).arg(name))?;
            }
        }
    }
    Ok(())
}
