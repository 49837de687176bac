//! A real browser without a window: Chromium, driven over a pipe by its own protocol.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// How long one request to the browser may take: it shares the machine with guests without KVM.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two keys. A guest's keyboard holds a few.
const KEY: Duration = Duration::from_millis(40);

/// One browser with one page.
pub struct Browser {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<Value>,
    number: u64,
    page: Option<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The protocol is spoken on descriptors 3 and 4.
        let script = "exec chromium --headless=new --no-sandbox --disable-gpu --no-first-run --window-size=900,700 \
                      --remote-debugging-pipe --user-data-dir=\"$1\" about:blank 3<&0 4>&1 0</dev/null 1>/dev/null 2>&1";
        let mut child = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let requests = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|count| count > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { break };
                if sender.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut browser = Self { child, requests, answers, number: 0, page: None, _profile: profile };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let wish = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &wish);
        browser.page = Some(session["sessionId"].as_str().unwrap().to_owned());
        browser.call("Page.enable", &json!({}));
        browser
    }

    #[track_caller]
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let mut request = json!({"id": self.number, "method": method, "params": parameters});
        if let Some(page) = &self.page {
            request["sessionId"] = page.clone().into();
        }
        let mut bytes = serde_json::to_vec(&request).unwrap();
        bytes.push(0);
        self.requests.write_all(&bytes).expect("chromium runs: tests/run installs it");
        loop {
            let mut answer = self.answers.recv_timeout(PATIENCE).expect("an answer of the browser");
            if answer["id"] == self.number {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
        }
    }

    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
    }

    /// The value of an expression in the page, or what was wrong with it.
    #[track_caller]
    fn try_value(&mut self, expression: &str) -> Result<Value, String> {
        let wish = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", &wish);
        let wrong = &answer["exceptionDetails"];
        if wrong.is_null() { Ok(answer["result"]["value"].take()) } else { Err(wrong.to_string()) }
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        self.try_value(expression).unwrap_or_else(|wrong| panic!("{expression}: {wrong}"))
    }

    /// Asks for the value of an expression until it is what is wanted. A page that is still loading may have none.
    #[track_caller]
    pub fn wait(&mut self, expression: &str, seconds: u64, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Err("nothing was asked".to_owned());
        for _ in 0..seconds * 5 {
            last = match self.try_value(expression) {
                Ok(value) if wanted(&value) => return value,
                other => other,
            };
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("{expression} is still {last:?} after {seconds} s");
    }

    /// Types on the keyboard of the page, as on a US layout.
    pub fn type_text(&mut self, text: &str) {
        for character in text.chars() {
            let (code, shift) = key(character);
            let modifiers = if shift { 8 } else { 0 };
            let (name, typed) = match character {
                '\n' => ("Enter".to_owned(), "\r".to_owned()),
                other => (other.to_string(), other.to_string()),
            };
            if shift {
                self.press("keyDown", json!({"key": "Shift", "code": "ShiftLeft", "modifiers": 8}));
            }
            let mut key = json!({"key": name, "code": code, "modifiers": modifiers});
            if character == '\n' {
                key["windowsVirtualKeyCode"] = 13.into();
            }
            let mut down = key.clone();
            down["text"] = typed.into();
            self.press("keyDown", down);
            self.press("keyUp", key);
            if shift {
                self.press("keyUp", json!({"key": "Shift", "code": "ShiftLeft"}));
            }
            std::thread::sleep(KEY);
        }
    }

    fn press(&mut self, kind: &str, mut event: Value) {
        event["type"] = kind.into();
        self.call("Input.dispatchKeyEvent", &event);
    }

    /// Keeps a picture of the page among the results of the build; gives its path.
    pub fn picture(&mut self, name: &str) -> PathBuf {
        let data = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let bytes = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            data["data"].as_str().unwrap(),
        )
        .unwrap();
        let folder = Path::new(env!("CARGO_BIN_EXE_dwarfnova")).ancestors().nth(2).unwrap().join("pictures");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// The key of a character, and whether it needs the shift key.
fn key(character: char) -> (String, bool) {
    let shifted = "!@#$%^&*()".find(character);
    if let Some(place) = shifted {
        return (format!("Digit{}", (place + 1) % 10), true);
    }
    let code = match character {
        '\n' => "Enter".to_owned(),
        ' ' => "Space".to_owned(),
        '-' => "Minus".to_owned(),
        '/' => "Slash".to_owned(),
        ';' => "Semicolon".to_owned(),
        '.' | '>' => "Period".to_owned(),
        '0'..='9' => format!("Digit{character}"),
        letter if letter.is_ascii_alphabetic() => format!("Key{}", letter.to_ascii_uppercase()),
        other => panic!("no key for {other:?}"),
    };
    (code, character == '>' || character.is_ascii_uppercase())
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It takes its helpers with it when its main process goes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
