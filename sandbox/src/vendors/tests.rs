//! Tests of each vendor over HTTP, and of the faults in front of it.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{AmaniOptions, Fault, FaultKind, Options, PegasusOptions, PlaspyOptions, Simulator, Vendor, operation};

/// A client with a token.
struct Client {
    sim: Simulator,
    http: reqwest::Client,
    header: &'static str,
    token: String,
}

impl Client {
    async fn start(vendor: Vendor, options: Options) -> Self {
        let sim = Simulator::start_with(vendor, options).await.unwrap();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let header = if vendor == Vendor::Pegasus { "authenticate" } else { "authorization" };
        let mut client = Self { sim, http, header, token: String::new() };
        client.token = client.login().await;
        client
    }

    async fn login(&self) -> String {
        let secret = self.sim.secret();
        let (path, body, field) = match self.sim.vendor() {
            Vendor::Pegasus => ("/login", json!(secret), "auth"),
            Vendor::Amani => ("/api/v2/user/login", json!(secret), "access"),
            Vendor::Plaspy => {
                let body = json!({"userName": secret["username"], "apiKey": secret["apiKey"]});
                ("/api/Auth/Token", body, "token")
            }
            Vendor::Industrility => return format!("Bearer {}", secret["token"]),
            Vendor::Ozmap => return secret["token"].clone(),
        };
        let (_, answer) = self.post(path, body).await;
        let token = answer[field].as_str().unwrap();
        if self.sim.vendor() == Vendor::Pegasus { token.to_owned() } else { format!("Bearer {token}") }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> reqwest::Result<(u16, String)> {
        let request = self.http.request(method, format!("{}{path}", self.sim.url()));
        let mut request = request.header(self.header, &self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await?))
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let (status, text) = self.send(method, path, body).await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::PUT, path, Some(body)).await
    }

    async fn patch(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::PATCH, path, Some(body)).await
    }

    async fn delete(&self, path: &str) -> u16 {
        self.call(Method::DELETE, path, None).await.0
    }
}

fn pegasus_user(name: &str) -> Value {
    let email = format!("{name}@example.com");
    json!({"username": email, "email": email, "password": "Fake-Password-1"})
}

#[tokio::test]
async fn pegasus_takes_the_three_steps_of_its_page() {
    let client = Client::start(Vendor::Pegasus, Options::default()).await;
    let (status, group) = client.post("/groups", json!({"name": "Fleet North", "logo": null})).await;
    assert_eq!((status, &group["logo"], &group["users"]), (201, &json!(false), &json!([])));
    let mut body = pegasus_user("ada");
    body["id"] = Value::Null;
    body["id_user"] = json!("new");
    body["groups"] = json!([group["id"]]);
    body["scopes"] = json!({"vehicles": "w"});
    let (status, user) = client.post("/users", body).await;
    assert_eq!((status, user.get("password")), (201, None));
    assert_eq!(user["scopes"]["vehicles:device"], "w");

    let apps = format!("/apps/pegasus2.0?user={}", user["id"]);
    assert_eq!(client.get(&apps).await.0, 404);
    let rights = json!({"staff": {"apps": {"tracking": true}}});
    assert_eq!(client.put(&apps, rights.clone()).await.0, 200);
    assert_eq!(client.get(&apps).await.1["staff"], rights["staff"]);
    let found = client.get("/groups?search.name=Fleet%20North").await.1;
    assert_eq!(found["data"][0]["users"], json!([user["id"]]));

    let group = format!("/groups/{}", group["id"]);
    assert_eq!(client.delete(&group).await, 409);
    assert_eq!(client.delete(&format!("/users/{}", user["id"])).await, 204);
    assert_eq!(client.delete(&group).await, 204);
    assert_eq!(client.sim.count(operation::GROUPS_FIND), 1);
    assert_eq!(client.sim.writes().len(), 6);
    assert_eq!(client.sim.violations(), [""; 0]);
}

#[tokio::test]
async fn pegasus_refuses_duplicates_and_unknown_fields() {
    let client = Client::start(Vendor::Pegasus, Options::default()).await;
    let id = client.sim.put_user(pegasus_user("ada"));
    assert_eq!(client.post("/users", pegasus_user("ADA")).await.0, 409);
    let mut body = pegasus_user("grace");
    body["groups"] = json!([99]);
    assert_eq!(client.post("/users", body).await.0, 400);
    assert_eq!(client.sim.violations(), [""; 0]);

    let (status, answer) = client.put(&format!("/users/{id}"), json!({"id": 1, "fist_name": ""})).await;
    assert_eq!(status, 400);
    assert!(answer["message"].as_str().unwrap().contains("fist_name: unknown field"));
    assert_eq!(client.patch(&format!("/users/{id}"), json!({})).await.0, 404);
    assert_eq!(client.get("/users/").await.0, 404);
    assert_eq!(client.sim.violations().len(), 3);
}

#[tokio::test]
async fn pegasus_pages_and_limits_applications() {
    let pegasus = PegasusOptions { apps_limits: true, ..PegasusOptions::default() };
    let client = Client::start(Vendor::Pegasus, Options { pegasus, ..Options::default() }).await;
    let mut last = String::new();
    for number in 0..5 {
        last = client.sim.put_user(pegasus_user(&format!("user{number}")));
    }
    let page = client.get("/users?set=2&page=3&select=username").await.1;
    assert_eq!((&page["set"], &page["pages"], &page["total"]), (&json!(1), &json!(3), &json!(5)));
    assert_eq!(page["data"][0]["email"], Value::Null);
    let path = format!("/apps/pegasus2.0?user={last}");
    for _ in 0..5 {
        assert_eq!(client.get(&path).await.0, 404);
    }
    let answer = client.http.get(format!("{}{path}", client.sim.url()));
    let answer = answer.header("authenticate", &client.token).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 429);
    assert!(answer.headers().contains_key("x-ratelimit-reset"));
}

#[tokio::test]
async fn amani_shows_groups_as_objects_and_never_removes() {
    let client = Client::start(Vendor::Amani, Options::default()).await;
    let body = json!({"email": "ada@example.com", "password": "fake-password", "groups": [5]});
    let (status, user) = client.post("/api/v2/user", body.clone()).await;
    assert_eq!((status, &user["groups"][0]["name"]), (201, &json!("Dispatchers")));
    let (status, refused) = client.post("/api/v2/user/", body).await;
    assert_eq!((status, refused["email"].is_array()), (400, true));
    let path = format!("/api/v2/user/{}", user["id"].as_str().unwrap());
    assert_eq!(client.patch(&path, json!({"is_active": false})).await.1["is_active"], false);
    assert_eq!(client.get("/api/v2/user").await.1.as_array().unwrap().len(), 1);
    assert_eq!(client.sim.violations(), [""; 0]);
    assert_eq!(client.patch(&path, json!({"groups": user["groups"]})).await.0, 400);
    assert_eq!(client.delete(&path).await, 405);
    assert_eq!(client.sim.violations().len(), 2);
}

#[tokio::test]
async fn amani_refreshes_pages_and_requires_credentials_by_option() {
    let amani = AmaniOptions { page_size: Some(2), patch_requires_credentials: true, ..AmaniOptions::default() };
    let mut client = Client::start(Vendor::Amani, Options { amani, ..Options::default() }).await;
    for number in 0..3 {
        client.sim.put_user(json!({"email": format!("user{number}@example.com")}));
    }
    let (_, session) = client.post("/api/v2/user/login", json!(client.sim.secret())).await;
    client.sim.expire_access_tokens();
    assert_eq!(client.get("/api/v2/user").await.0, 401);
    let (status, renewed) = client.post("/api/v2/token/refresh/", json!({"refresh": session["refresh"]})).await;
    assert_eq!(status, 200);
    client.token = format!("Bearer {}", renewed["access"].as_str().unwrap());
    let page = client.get("/api/v2/user").await.1;
    let next = page["next"].as_str().unwrap().strip_prefix(&client.sim.url()).unwrap().to_owned();
    let page = client.get(&next).await.1;
    assert_eq!((&page["count"], page["results"].as_array().unwrap().len()), (&json!(3), 1));
    let id = client.sim.user("user0@example.com").unwrap()["id"].as_str().unwrap().to_owned();
    let (status, refused) = client.patch(&format!("/api/v2/user/{id}"), json!({"phone": "1"})).await;
    assert_eq!((status, refused.get("email").is_some()), (400, true));
}

#[tokio::test]
async fn plaspy_changes_by_json_patch_inside_its_envelope() {
    let client = Client::start(Vendor::Plaspy, Options::default()).await;
    let (status, group) = client.post("/api/groups", json!({"name": "Trucks", "devices": ["dev-1"]})).await;
    assert_eq!((status, &group["success"], &group["error"]), (201, &json!(true), &Value::Null));
    let body = json!({
        "name": "Ada", "email": "ada@example.com", "country": "GB", "timeZone": "Europe/London",
        "group": "Trucks", "password": "fake-password",
    });
    let (status, user) = client.post("/api/users", body.clone()).await;
    assert_eq!((status, &user["password"], user.get("disabled")), (201, &Value::Null, None));
    assert_eq!(client.post("/api/users", body).await.0, 409);
    let path = format!("/api/users/{}", user["id"].as_str().unwrap());
    let replaced = json!([{"op": "replace", "path": "/disabled", "value": true}]);
    assert_eq!(client.patch(&path, replaced).await.0, 400);
    let added = json!([{"op": "add", "path": "/disabled", "value": true}]);
    assert_eq!(client.patch(&path, added).await.1["disabled"], true);
    let renamed = json!([{"op": "replace", "path": "/name", "value": "Lorries"}]);
    let group = format!("/api/groups/{}", group["id"].as_str().unwrap());
    assert_eq!(client.patch(&group, renamed).await.0, 200);
    assert_eq!(client.get(&path).await.1["group"], "Lorries");
    assert_eq!(client.sim.user("ada@example.com").unwrap()["password"], "fake-password");
    assert_eq!(client.sim.violations(), [""; 0]);
    assert_eq!(client.patch(&path, json!({"name": "Grace"})).await.0, 400);
    assert_eq!(client.sim.violations().len(), 1);
    assert_eq!(client.delete(&path).await, 200);
}

#[tokio::test]
async fn plaspy_errors_hide_behind_200_by_option() {
    let plaspy = PlaspyOptions { errors_with_200: true, ..PlaspyOptions::default() };
    let client = Client::start(Vendor::Plaspy, Options { plaspy, ..Options::default() }).await;
    let (status, answer) = client.get("/api/users/usr-0").await;
    assert_eq!((status, &answer["success"]), (200, &json!(false)));
    client.sim.revoke_tokens();
    assert_eq!(client.get("/api/users").await.1["success"], false);
}

#[tokio::test]
async fn industrility_creates_once() {
    let client = Client::start(Vendor::Industrility, Options::default()).await;
    let body = json!({
        "firstName": "Ada", "lastName": "Example", "email": "ada@example.com", "orgName": "Example Works",
        "parentUser": "US-boss@example.com", "selectedSecurityGroup": ["SG-operators"], "userLoginType": "COGNITO",
        "userType": "Customer", "selectedRole": "UR-customer", "toggleButtonValue": "select", "discountClasses": "",
        "installedAppsData": {"Home": true},
    });
    assert_eq!(client.post("/CreateNewUser", body.clone()).await.0, 200);
    let (status, answer) = client.post("/CreateNewUser", body.clone()).await;
    assert_eq!((status, answer), (409, json!({"message": "User already exists"})));
    assert!(client.sim.user("US-ada@example.com").is_some());
    assert_eq!(client.sim.violations(), [""; 0]);
    let mut wrong = body;
    wrong["password"] = json!("fake-password");
    wrong["discountClasses"] = json!({"ClassA": "18"});
    assert_eq!(client.post("/CreateNewUser", wrong).await.0, 400);
    assert_eq!(client.sim.violations().len(), 1);
}

#[tokio::test]
async fn ozmap_shows_projects_of_groups_and_keys_in_lists() {
    let client = Client::start(Vendor::Ozmap, Options::default()).await;
    let role = &client.get("/roles").await.1["rows"][1];
    let projects = client.get("/projects").await.1;
    let project = &projects["rows"][0]["id"];
    let (_, group) = client.post("/project-groups", json!({"name": "North", "projects": [{"project": project}]})).await;
    let body = json!({
        "username": "ada", "email": "ada@example.com", "resources": ["OZmap"], "name": "Ada", "role": role["id"],
        "projects": [], "projectGroups": [{"group": group["id"]}], "password": "fake-password",
    });
    let (status, user) = client.post("/users", body.clone()).await;
    assert_eq!((status, &user["_id"], user.get("locale")), (201, &user["id"], None));
    assert_eq!(user["projects"], json!([{"project": project, "role": role["id"], "fromGroup": true}]));
    assert_eq!(client.post("/users", body).await.0, 409);
    let filter = r#"[{"property":"username","operator":"=","value":"ada"}]"#;
    let found = client.http.get(format!("{}/users", client.sim.url())).query(&[("filter", filter)]);
    let found: Value = found.header("authorization", &client.token).send().await.unwrap().json().await.unwrap();
    assert_eq!((&found["total"], found["rows"][0]["apiKey"].is_string()), (&json!(1), true));
    assert_eq!(client.sim.count(operation::USERS_FIND), 1);
    assert_eq!(client.sim.violations(), [""; 0]);
    let path = format!("/users/{}", user["id"].as_str().unwrap());
    assert_eq!(client.patch(&path, json!({"projects": user["projects"]})).await.0, 400);
    assert_eq!(client.patch(&path, json!({"external_id": "1"})).await.0, 400);
    assert_eq!(client.sim.violations().len(), 2);
    assert_eq!(client.delete(&format!("/project-groups/{}", group["id"].as_str().unwrap())).await, 204);
    assert_eq!(client.get(&path).await.1["projects"], json!([]));
}

#[tokio::test]
async fn a_lost_answer_is_no_answer_at_all() {
    let client = Client::start(Vendor::Pegasus, Options::default()).await;
    for (kind, left) in [(FaultKind::LostBeforeCommit, 0), (FaultKind::LostAfterCommit, 1)] {
        client.sim.fault(Fault::once("users.create", kind));
        let lost = client.send(Method::POST, "/users", Some(pegasus_user("ada"))).await;
        assert!(lost.unwrap_err().status().is_none());
        assert_eq!(client.sim.users().len(), left);
    }
    assert_eq!(client.sim.calls().last().map(|call| call.status), Some(0));
}

#[tokio::test]
async fn faults_change_the_answer_as_configured() {
    let client = Client::start(Vendor::Pegasus, Options::default()).await;
    let _ = client.sim.put_user(pegasus_user("ada"));
    for (kind, status, start) in [
        (FaultKind::Status(503, None), 503, r#"{"message""#),
        (FaultKind::RateLimited(None), 429, "{"),
        (FaultKind::Html, 200, "<!doctype html>"),
        (FaultKind::TruncatedJson, 200, r#"{"data":[{"#),
        (FaultKind::WrongTypes, 200, r#"{"data":[{"__created":{"unexpected""#),
        (FaultKind::EmptyList, 200, r#"{"data":[],"page":1,"pages":1,"set":0,"total":0"#),
        (FaultKind::ShortList, 200, r#"{"data":[],"page":1,"pages":1,"set":1,"total":1"#),
        (FaultKind::HugeBody, 200, "      "),
        (FaultKind::Redirect("http://198.51.100.1/".to_owned()), 307, ""),
    ] {
        client.sim.fault(Fault::once("users.*", kind.clone()));
        let (got, text) = client.send(Method::GET, "/users", None).await.unwrap();
        assert_eq!(got, status, "{kind:?}");
        assert!(text.starts_with(start), "{kind:?}");
        assert_eq!(text.len() > 50_000_000, kind == FaultKind::HugeBody, "{kind:?} has {} bytes", text.len());
    }
    client.sim.fault(Fault::once("*", FaultKind::RepeatedPage));
    assert_eq!(client.get("/users?page=2").await.1["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_hanging_call_ends_with_the_simulator() {
    let client = Client::start(Vendor::Pegasus, Options::default()).await;
    client.sim.fault(Fault::always("*", FaultKind::Hang));
    let sim = client.sim.clone();
    let hanging = tokio::spawn(async move { client.send(Method::GET, "/users", None).await.is_err() });
    let seen = sim.wait_until(Duration::from_secs(10), |sim| sim.count(operation::USERS_LIST) == 1);
    assert!(seen.await);
    sim.stop().await;
    assert!(hanging.await.unwrap());
    assert!(reqwest::get(sim.url()).await.unwrap_err().is_connect());
}

#[tokio::test]
async fn a_shut_port_refuses_connections_and_opens_where_it_was() {
    let client = Client::start(Vendor::Pegasus, Options::default()).await;
    for _ in 0..3 {
        client.sim.shut_port().await;
        let refused = reqwest::get(client.sim.url()).await.unwrap_err();
        assert!(refused.is_connect(), "{refused:?}");
        let calls = client.sim.calls().len();
        assert!(client.send(Method::GET, "/users", None).await.is_err(), "an open connection is cut too");
        assert_eq!(client.sim.calls().len(), calls);
        client.sim.open_port().await;
        assert_eq!(client.get("/users").await.0, 200);
    }
    client.sim.stop().await;
    client.sim.shut_port().await;
}

#[tokio::test]
async fn the_control_endpoint_acts_and_is_not_counted() {
    let client = Client::start(Vendor::Ozmap, Options::default()).await;
    let origin = client.sim.url().replace("/api/v2", "/_control");
    let post = |path: &str, body: Value| client.http.post(format!("{origin}/{path}")).json(&body).send();
    let made: Value = post("users", json!({"username": "ada"})).await.unwrap().json().await.unwrap();
    let user = format!("{origin}/users/{}", made["id"].as_str().unwrap());
    let patch = client.http.patch(&user).json(&json!({"name": "Ada"})).send().await.unwrap();
    assert_eq!(patch.status().as_u16(), 204);
    assert_eq!(client.sim.user("ada").unwrap()["name"], "Ada");
    let fault = json!({"on": "users.list", "times": 1, "kind": "Status", "status": 503});
    assert_eq!(post("faults", fault).await.unwrap().status().as_u16(), 201);
    assert_eq!(client.get("/users").await.0, 503);
    let state: Value = reqwest::get(format!("{origin}/state")).await.unwrap().json().await.unwrap();
    assert_eq!(state["calls"].as_array().unwrap().len(), 1);
    assert_eq!(client.http.delete(&user).send().await.unwrap().status().as_u16(), 204);
    assert!(client.sim.users().is_empty());
}
