//! The Dockerfile, read: its stages, what it copies, what it starts. scripts/image.sh builds it where an engine runs.

use oubliette::config::Settings;

use super::{oubliette, read, root};

/// Instructions with their arguments, comments and line breaks taken out.
fn instructions() -> Vec<(String, String)> {
    let text = read("Dockerfile");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines
        .join("\n")
        .replace("\\\n", " ")
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, rest)| (name.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

fn all(name: &str) -> Vec<String> {
    let wanted = instructions()
        .into_iter()
        .filter(|(instruction, _)| instruction == name);
    wanted.map(|(_, rest)| rest).collect()
}

/// Whether .dockerignore lets a path through. It names what is let through, so the last match need not be sought.
fn is_sent(path: &str) -> bool {
    read(".dockerignore")
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .any(|sent| path == sent || path.starts_with(&format!("{sent}/")))
}

/// The words of an instruction in JSON form.
fn words(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[test]
fn instructions_are_known_and_stages_share_one_base() {
    let known = [
        "FROM",
        "RUN",
        "WORKDIR",
        "COPY",
        "ENV",
        "USER",
        "VOLUME",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    ];
    for (name, rest) in instructions() {
        assert!(known.contains(&name.as_str()), "{name} {rest}");
    }
    let stages = all("FROM");
    assert!(stages.len() >= 2, "{stages:?}");
    for stage in &stages {
        let image = stage.split(' ').next().unwrap();
        let (_, tag) = image.split_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
        assert!(tag.contains("bookworm"), "{image}");
    }
    let minimum: toml::Table = read("Cargo.toml").parse().unwrap();
    let minimum = minimum["package"]["rust-version"].as_str().unwrap();
    assert!(stages[0].starts_with(&format!("rust:{minimum}-")), "{}", stages[0]);
}

#[test]
fn what_is_copied_exists_and_reaches_the_engine() {
    let stages: Vec<String> = all("FROM")
        .iter()
        .filter_map(|stage| stage.split_once(" AS ").map(|(_, name)| name.to_owned()))
        .collect();
    let built = all("RUN").join(" ");
    for copy in all("COPY") {
        let mut words: Vec<&str> = copy.split(' ').collect();
        words.pop();
        if let Some(stage) = words[0].strip_prefix("--from=") {
            assert!(stages.iter().any(|name| name == stage), "no stage {stage}");
            for path in &words[1..] {
                let (folder, _) = path.rsplit_once('/').unwrap();
                assert!(built.contains(folder), "{path} is not made");
            }
            continue;
        }
        for path in words.iter().filter(|path| **path != ".") {
            assert!(root().join(path).exists() && is_sent(path), "{path}");
        }
    }
}

/// Cargo reads the manifest's targets, and the compiler what the sources include.
#[test]
fn what_the_build_reads_reaches_the_engine() {
    for path in [
        "Cargo.toml",
        "Cargo.lock",
        "src/main.rs",
        "benches/spec.rs",
        "tests/cli.rs",
    ] {
        assert!(root().join(path).exists() && is_sent(path), "{path}");
    }
    let mut folders = vec![root().join("src")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            for included in ["include_str!(\"", "include_bytes!(\""]
                .iter()
                .flat_map(|start| text.split(start).skip(1))
                .filter_map(|rest| rest.split('"').next())
            {
                let target = path.parent().unwrap().join(included).canonicalize();
                let target = target.unwrap_or_else(|error| panic!("{}: {included}: {error}", path.display()));
                let target = target.strip_prefix(root().canonicalize().unwrap()).unwrap().to_owned();
                assert!(
                    is_sent(target.to_str().unwrap()),
                    "{} includes {}",
                    path.display(),
                    target.display()
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 3);
}

#[test]
fn no_key_reaches_the_engine() {
    for path in [
        ".git/config",
        "data/keys/main/event.pem",
        "keys/README.md",
        ".cargo/config.toml",
        "target/debug/oubliette",
    ] {
        assert!(!is_sent(path), "{path}");
    }
    let ignored = read(".dockerignore");
    assert!(ignored.lines().any(|line| line == "*") && ignored.lines().any(|line| line == "**/*.pem"));
}

#[test]
fn it_runs_as_nobody_on_volumes_of_the_sample_settings() {
    let user = all("USER");
    let (id, _) = user.last().unwrap().split_once(':').unwrap();
    assert!(id.parse::<u32>().unwrap() >= 1_000);
    let settings = Settings::load(Some(&root().join("deploy/oubliette.toml"))).unwrap();
    let volumes = words(all("VOLUME").last().unwrap());
    let mut places = vec![settings.data.clone(), settings.keystore_path(), settings.keys_path()];
    places.extend(settings.vault_paths());
    let built = all("RUN").join(" ");
    assert!(built.contains(&format!(" -o {id} -g {id} ")));
    for place in places {
        let place = place.to_str().unwrap();
        assert!(volumes.iter().any(|volume| volume == place), "{place} is no volume");
        assert!(built.split(' ').any(|word| word == place), "{place} is not made");
    }
}

#[test]
fn it_starts_commands_and_settings_that_exist() {
    assert_eq!(words(all("ENTRYPOINT").last().unwrap()), ["oubliette"]);
    let health = all("HEALTHCHECK").pop().unwrap();
    let (_, health) = health.split_once(" CMD ").unwrap();
    let health = words(health);
    assert_eq!(health[0], "oubliette");
    for command in [&words(all("CMD").last().unwrap())[0], &health[1]] {
        super::succeed(&mut oubliette(&[command, "--help"]));
    }
    for pair in all("ENV").iter().flat_map(|line| line.split(' ')) {
        let (name, value) = pair.split_once('=').unwrap();
        let config = root().join("deploy/oubliette.toml");
        let mut check = oubliette(&["serve", "--check-config"]);
        match name {
            "OUBLIETTE_CONFIG" => assert!(all("COPY").iter().any(|copy| copy.ends_with(&format!(" {value}")))),
            // Beyond loopback without TLS it does not start, and says what to set.
            _ => {
                let refused = check.env(name, value).arg("--config").arg(config).output().unwrap();
                assert!(
                    super::said(&refused).contains("tls_certificate"),
                    "{}",
                    super::said(&refused)
                );
            }
        }
    }
}
