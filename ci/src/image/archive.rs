//! An image as a file: an OCI archive (`docker buildx build --output type=oci`) or what `docker save` writes.
//!
//! Owns reading it and comparing every part with the hash that it is named by. Judges nothing else.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::docker::Docker;
use crate::hex::hex;

/// An unpacked archive whose parts all are what they are called.
pub struct Archive {
    folder: TempDir,
    /// What a task definition names: the index's or manifest's digest. An engine's own image has none before a push.
    pub digest: Option<String>,
    /// One image a platform.
    pub platforms: Vec<Platform>,
    /// Provenance and SBOM statements that BuildKit put beside the images.
    pub attestations: usize,
}

/// The image of one platform.
pub struct Platform {
    /// `linux/amd64`.
    pub name: String,
    /// Its manifest's digest, or its configuration's where there is no manifest.
    pub digest: String,
    /// How it is to be run.
    pub config: Config,
    layers: Vec<Layer>,
}

struct Layer {
    path: PathBuf,
    gzip: bool,
}

/// How an image is run, as far as it is verified.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// Who it runs as.
    pub user: String,
    /// PID 1.
    pub entrypoint: Option<Vec<String>>,
    /// What stops it.
    pub stop_signal: String,
    /// How the engine asks whether it is alive.
    pub healthcheck: Option<Healthcheck>,
    /// Where it writes.
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
    /// Where it listens.
    pub exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    /// What it says of itself.
    pub labels: Option<BTreeMap<String, String>>,
}

/// The engine's question.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// The command.
    pub test: Vec<String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<OfPlatform>,
}

#[derive(Deserialize)]
struct OfPlatform {
    os: String,
    architecture: String,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// The configuration blob.
#[derive(Deserialize)]
struct Blob {
    os: String,
    architecture: String,
    #[serde(default)]
    config: Config,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// One line of `docker save`'s manifest.json.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

impl Archive {
    /// Opens a file, or has the engine save the image that it knows by this name.
    ///
    /// # Errors
    /// Neither is there, it is no such archive, or a part is not what its hash says.
    pub fn open(image: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let saved;
        let path = if Path::new(image).is_file() {
            Path::new(image)
        } else {
            let docker = Docker::find_any().map_err(|lack| {
                anyhow::anyhow!("{image} is no file, and no engine can be asked for it: {lack}")
            })?;
            saved = tempfile::NamedTempFile::new().context("make a temporary file")?;
            docker
                .run(&["save", "--output", &saved.path().to_string_lossy(), image])
                .with_context(|| format!("{image} is no file; save it from the engine"))?;
            saved.path()
        };
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        tar::Archive::new(file)
            .unpack(folder.path())
            .with_context(|| format!("{image} is no archive of an image"))?;
        // A newer engine's archive is both; its index then names manifests that only this engine has.
        if folder.path().join("manifest.json").is_file() {
            Self::saved(folder).with_context(|| format!("read {image}"))
        } else {
            Self::oci(folder).with_context(|| format!("read {image}"))
        }
    }

    fn oci(folder: TempDir) -> anyhow::Result<Self> {
        let text = fs::read(folder.path().join("index.json"))
            .context("it has neither an index.json nor a manifest.json")?;
        let top: Index = serde_json::from_slice(&text).context("parse index.json")?;
        let [root] = top.manifests.as_slice() else {
            bail!(
                "it holds {} images, wanted one (of one or more platforms)",
                top.manifests.len()
            );
        };
        let mut archive = Self {
            digest: Some(root.digest.clone()),
            platforms: Vec::new(),
            attestations: 0,
            folder,
        };
        let of_index: Index;
        let manifests = if is_index(root) {
            of_index = archive.read(root)?;
            of_index.manifests.as_slice()
        } else {
            std::slice::from_ref(root)
        };
        for descriptor in manifests {
            let manifest: Manifest = archive.read(descriptor)?;
            // BuildKit's statements are manifests for no platform.
            if descriptor
                .platform
                .as_ref()
                .is_some_and(|platform| platform.os == "unknown")
            {
                for layer in &manifest.layers {
                    archive.verified(layer)?;
                }
                archive.attestations += 1;
                continue;
            }
            let blob: Blob = archive.read(&manifest.config)?;
            let mut layers = Vec::new();
            for layer in &manifest.layers {
                layers.push(Layer {
                    path: archive.verified(layer)?,
                    gzip: is_gzip(&layer.media_type)?,
                });
            }
            archive.add(descriptor.digest.clone(), blob, layers, descriptor)?;
        }
        Ok(archive)
    }

    fn saved(folder: TempDir) -> anyhow::Result<Self> {
        let text = fs::read(folder.path().join("manifest.json")).context("read manifest.json")?;
        let images: Vec<Saved> = serde_json::from_slice(&text).context("parse manifest.json")?;
        let [image] = images.as_slice() else {
            bail!("it holds {} images, wanted one", images.len());
        };
        let config = inside(folder.path(), &image.config)?;
        let bytes = fs::read(&config).with_context(|| format!("read {}", image.config))?;
        let blob: Blob =
            serde_json::from_slice(&bytes).with_context(|| format!("parse {}", image.config))?;
        let digest = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
        let stem = image.config.trim_end_matches(".json");
        let named = stem.rsplit('/').next().unwrap_or(stem);
        ensure!(
            digest.ends_with(named),
            "its configuration is {digest} and is called {}",
            image.config
        );
        let mut layers = Vec::new();
        for layer in &image.layers {
            let path = inside(folder.path(), layer)?;
            layers.push(Layer {
                gzip: begins_as_gzip(&path)?,
                path,
            });
        }
        let mut archive = Self {
            folder,
            digest: None,
            platforms: Vec::new(),
            attestations: 0,
        };
        let nowhere = Descriptor {
            media_type: String::new(),
            digest: String::new(),
            size: 0,
            platform: None,
        };
        archive.add(digest, blob, layers, &nowhere)?;
        Ok(archive)
    }

    /// Takes one platform in, after its layers were compared with what its configuration says they unpack to.
    fn add(
        &mut self,
        digest: String,
        blob: Blob,
        layers: Vec<Layer>,
        descriptor: &Descriptor,
    ) -> anyhow::Result<()> {
        let name = format!("{}/{}", blob.os, blob.architecture);
        if let Some(platform) = &descriptor.platform {
            let said = format!("{}/{}", platform.os, platform.architecture);
            ensure!(
                said == name,
                "the index calls {digest} {said}, itself it is {name}"
            );
        }
        ensure!(
            blob.rootfs.diff_ids.len() == layers.len(),
            "{name} has {} layers and names {}",
            layers.len(),
            blob.rootfs.diff_ids.len()
        );
        for (layer, wanted) in layers.iter().zip(&blob.rootfs.diff_ids) {
            let found = sum(layer.unpacked()?)?;
            ensure!(
                found == *wanted,
                "a layer of {name} unpacks to {found}, its configuration says {wanted}"
            );
        }
        self.platforms.push(Platform {
            name,
            digest,
            config: blob.config,
            layers,
        });
        Ok(())
    }

    /// The blob's path, after it was compared with its name and size.
    fn verified(&self, descriptor: &Descriptor) -> anyhow::Result<PathBuf> {
        let digest = &descriptor.digest;
        let Some(name) = digest
            .strip_prefix("sha256:")
            .filter(|name| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()))
        else {
            bail!("{digest:?} is no sha256 digest");
        };
        let path = self.folder.path().join("blobs/sha256").join(name);
        let file = File::open(&path).with_context(|| format!("it lacks {digest}"))?;
        let size = file.metadata().context("look at a blob")?.len();
        ensure!(
            size == descriptor.size,
            "{digest} has {size} bytes, {} are named",
            descriptor.size
        );
        let found = sum(file)?;
        ensure!(
            found == *digest,
            "{digest} is damaged: its bytes are {found}"
        );
        Ok(path)
    }

    fn read<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> anyhow::Result<T> {
        let path = self.verified(descriptor)?;
        let bytes = fs::read(&path).with_context(|| format!("read {}", descriptor.digest))?;
        serde_json::from_slice(&bytes).with_context(|| format!("parse {}", descriptor.digest))
    }
}

/// Sizes of files by path, and the contents of those that were asked for.
pub struct Files {
    /// Every regular file and its size.
    pub sizes: BTreeMap<String, u64>,
    /// The bytes of those below the folders that were asked for.
    pub contents: BTreeMap<String, Vec<u8>>,
}

impl Platform {
    /// Its files as a container would see them, with the contents of those below `folders`.
    ///
    /// # Errors
    /// A layer cannot be read.
    pub fn files(&self, folders: &[&str]) -> anyhow::Result<Files> {
        let mut files = Files {
            sizes: BTreeMap::new(),
            contents: BTreeMap::new(),
        };
        for layer in &self.layers {
            let mut archive = tar::Archive::new(layer.unpacked()?);
            for entry in archive.entries().context("read a layer")? {
                let mut entry = entry.context("read a layer")?;
                let path = entry.path().context("read a layer")?;
                let path = path.to_string_lossy().trim_start_matches("./").to_owned();
                if let Some(gone) = whiteout(&path) {
                    files.remove(&gone);
                    continue;
                }
                if !entry.header().entry_type().is_file() {
                    continue;
                }
                files.sizes.insert(path.clone(), entry.size());
                if folders.iter().any(|folder| path.starts_with(folder)) {
                    let mut bytes = Vec::new();
                    entry
                        .read_to_end(&mut bytes)
                        .with_context(|| format!("read {path}"))?;
                    files.contents.insert(path, bytes);
                }
            }
        }
        Ok(files)
    }
}

impl Files {
    fn remove(&mut self, gone: &Gone) {
        let stays = |path: &String| match gone {
            Gone::Path(gone) => {
                path != gone
                    && !path
                        .strip_prefix(gone.as_str())
                        .is_some_and(|rest| rest.starts_with('/'))
            }
            Gone::ContentsOf(folder) => !path.starts_with(&format!("{folder}/")),
        };
        self.sizes.retain(|path, _| stays(path));
        self.contents.retain(|path, _| stays(path));
    }
}

/// What a layer takes away from those below it.
enum Gone {
    Path(String),
    ContentsOf(String),
}

fn whiteout(path: &str) -> Option<Gone> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let hidden = name.strip_prefix(".wh.")?;
    Some(if hidden == ".wh..opq" {
        Gone::ContentsOf(folder.to_owned())
    } else if folder.is_empty() {
        Gone::Path(hidden.to_owned())
    } else {
        Gone::Path(format!("{folder}/{hidden}"))
    })
}

impl Layer {
    fn unpacked(&self) -> anyhow::Result<Box<dyn Read>> {
        let file = File::open(&self.path).context("open a layer")?;
        Ok(if self.gzip {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        })
    }
}

fn is_index(descriptor: &Descriptor) -> bool {
    descriptor.media_type.ends_with("image.index.v1+json")
        || descriptor.media_type.ends_with("manifest.list.v2+json")
}

fn is_gzip(media_type: &str) -> anyhow::Result<bool> {
    if media_type.ends_with("gzip") {
        Ok(true)
    } else if media_type.ends_with("tar") {
        Ok(false)
    } else {
        bail!("a layer is {media_type}: build with compression=gzip")
    }
}

fn begins_as_gzip(path: &Path) -> anyhow::Result<bool> {
    let mut magic = [0; 2];
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    file.read_exact(&mut magic)
        .with_context(|| format!("read {}", path.display()))?;
    Ok(magic == [0x1f, 0x8b])
}

/// A path that an archive names, which must not lead out of `folder`.
///
/// # Errors
/// It would.
pub fn inside(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let plain = Path::new(name)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    ensure!(plain, "it names {name:?}, which is no path inside of it");
    Ok(folder.join(name))
}

/// `sha256:…` of everything that a reader gives.
fn sum(mut reader: impl Read) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("read a part of the archive"),
        };
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else {
            break;
        };
        hash.update(part);
    }
    Ok(format!("sha256:{}", hex(&hash.finalize())))
}

#[cfg(test)]
pub mod fixture {
    //! A small OCI archive, made in memory.

    use super::*;

    /// Files by path, as one layer each group.
    pub struct Fixture {
        pub platforms: Vec<&'static str>,
        pub config: serde_json::Value,
        pub layers: Vec<Vec<(&'static str, Vec<u8>)>>,
        /// Changes this part of a blob's bytes after its digest was taken.
        pub damage: Option<&'static str>,
    }

    impl Fixture {
        /// Writes the archive and gives its index's digest.
        pub fn write(&self, path: &Path) -> String {
            let mut blobs: Vec<(String, Vec<u8>)> = Vec::new();
            let mut blob = |bytes: Vec<u8>, media_type: &str| {
                let digest = hex(&Sha256::digest(&bytes));
                let descriptor = serde_json::json!({
                    "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len(),
                });
                blobs.push((format!("blobs/sha256/{digest}"), bytes));
                descriptor
            };
            let mut manifests = Vec::new();
            for architecture in &self.platforms {
                let mut layers = Vec::new();
                let mut diff_ids = Vec::new();
                for files in &self.layers {
                    let layer = tar_of(
                        files
                            .iter()
                            .map(|(name, bytes)| ((*name).to_owned(), bytes.clone())),
                    );
                    diff_ids.push(sum(layer.as_slice()).unwrap());
                    layers.push(blob(layer, "application/vnd.oci.image.layer.v1.tar"));
                }
                let config = serde_json::json!({
                    "os": "linux", "architecture": architecture, "config": self.config,
                    "rootfs": {"type": "layers", "diff_ids": diff_ids},
                });
                let config = blob(
                    serde_json::to_vec(&config).unwrap(),
                    "application/vnd.oci.image.config.v1+json",
                );
                let manifest = serde_json::json!({"config": config, "layers": layers});
                let mut manifest = blob(
                    serde_json::to_vec(&manifest).unwrap(),
                    "application/vnd.oci.image.manifest.v1+json",
                );
                manifest["platform"] =
                    serde_json::json!({"os": "linux", "architecture": architecture});
                manifests.push(manifest);
            }
            let index = blob(
                serde_json::to_vec(&serde_json::json!({"manifests": manifests})).unwrap(),
                "application/vnd.oci.image.index.v1+json",
            );
            let digest = index["digest"].as_str().unwrap().to_owned();
            let top = serde_json::json!({"manifests": [index]});
            blobs.push(("index.json".to_owned(), serde_json::to_vec(&top).unwrap()));
            if let Some(part) = self.damage {
                for (_, bytes) in &mut blobs {
                    let found = bytes.windows(part.len()).position(|w| w == part.as_bytes());
                    if let Some(at) = found {
                        bytes[at] ^= 1;
                    }
                }
            }
            fs::write(path, tar_of(blobs.into_iter())).unwrap();
            digest
        }

        /// Writes the first platform as an engine saves it, and gives its configuration's digest.
        pub fn save(&self, path: &Path) -> String {
            let mut files = Vec::new();
            let mut names = Vec::new();
            let mut diff_ids = Vec::new();
            for (number, layer) in self.layers.iter().enumerate() {
                let layer = layer
                    .iter()
                    .map(|(name, bytes)| ((*name).to_owned(), bytes.clone()));
                let layer = tar_of(layer);
                diff_ids.push(sum(layer.as_slice()).unwrap());
                names.push(format!("{number}/layer.tar"));
                files.push((format!("{number}/layer.tar"), layer));
            }
            let config = serde_json::to_vec(&serde_json::json!({
                "os": "linux", "architecture": self.platforms[0], "config": self.config,
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            }))
            .unwrap();
            let digest = hex(&Sha256::digest(&config));
            let name = format!("{digest}.json");
            let manifest = serde_json::json!([{"Config": name, "Layers": names}]);
            files.push((
                "manifest.json".to_owned(),
                serde_json::to_vec(&manifest).unwrap(),
            ));
            files.push((name, config));
            fs::write(path, tar_of(files.into_iter())).unwrap();
            format!("sha256:{digest}")
        }
    }

    fn tar_of(files: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder
                .append_data(&mut header, name, bytes.as_slice())
                .unwrap();
        }
        builder.into_inner().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::Fixture;
    use super::*;

    fn fixture() -> Fixture {
        Fixture {
            platforms: vec!["amd64", "arm64"],
            config: serde_json::json!({"User": "1000:1000"}),
            layers: vec![
                vec![
                    ("qdrant/sbom/a", b"first".to_vec()),
                    ("qdrant/old/x", b"x".to_vec()),
                ],
                vec![
                    ("qdrant/sbom/a", b"second".to_vec()),
                    ("qdrant/.wh.old", Vec::new()),
                ],
            ],
            damage: None,
        }
    }

    #[test]
    fn both_platforms_are_read_and_layers_lie_upon_each_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let digest = fixture().write(file.path());
        let archive = Archive::open(&file.path().to_string_lossy()).unwrap();
        assert_eq!(archive.digest, Some(digest));
        let names: Vec<_> = archive
            .platforms
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names, ["linux/amd64", "linux/arm64"]);
        assert_eq!(archive.platforms[0].config.user, "1000:1000");
        let files = archive.platforms[0].files(&["qdrant/sbom/"]).unwrap();
        assert_eq!(
            files.sizes.keys().collect::<Vec<_>>(),
            ["qdrant/sbom/a"],
            "the whiteout hides"
        );
        assert_eq!(files.contents["qdrant/sbom/a"], b"second");
    }

    #[test]
    fn a_byte_that_differs_is_noticed_in_every_kind_of_part() {
        for part in ["second", "1000:1000", "vnd.oci.image.layer"] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut fixture = fixture();
            fixture.damage = Some(part);
            fixture.write(file.path());
            let error = Archive::open(&file.path().to_string_lossy()).err().unwrap();
            assert!(
                format!("{error:#}").contains("is damaged"),
                "{part}: {error:#}"
            );
        }
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "no archive").unwrap();
        assert!(Archive::open(&file.path().to_string_lossy()).is_err());
        assert!(inside(Path::new("/x"), "../etc/passwd").is_err());
        assert!(inside(Path::new("/x"), "/etc/passwd").is_err());
    }
}
