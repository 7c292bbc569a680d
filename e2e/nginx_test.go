package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// nginxConfig serves ROOT at ADDRESS, with a bit of all that static sites use.
const nginxConfig = `USER
daemon off;
worker_processes 1;
pid ROOT/nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path ROOT/tmp-body;
	proxy_temp_path ROOT/tmp-proxy;
	fastcgi_temp_path ROOT/tmp-fastcgi;
	uwsgi_temp_path ROOT/tmp-uwsgi;
	scgi_temp_path ROOT/tmp-scgi;
	types {
		text/html html; text/css css; text/javascript js; application/json json; image/svg+xml svg;
		image/png png; font/woff2 woff2; video/mp4 mp4; application/xml xml; text/plain txt;
	}
	default_type application/octet-stream;
	gzip on;
	msie_padding off; # it depends on the order of headers, which HTTP/2 does not keep
	gzip_vary on;
	gzip_proxied any; # by default nginx packs nothing for a proxy that names itself in Via
	gzip_min_length 200;
	gzip_types text/css text/javascript application/json image/svg+xml application/xml text/plain;
	server {
		listen ADDRESS;
		server_name _;
		root ROOT/site;
		error_page 404 /errors/404.html;
		error_page 500 502 503 /errors/5xx.html;
		location /errors/ { internal; }
		location /list/ { autoindex on; }
		location /old/ { rewrite ^/old/(.*)$ /new/$1 permanent; }
		location = /moved { return 302 http://$http_host/style.css?from=$arg_from; }
		location = /away { return 307 https://elsewhere.example/x; }
		location = /broken { return 503; }
		location = /teapot { return 418 "short and stout\n"; }
		location = /gone { return 410; }
		location = /nothing { return 204; }
		location = /hangs-up { return 444; }
		location = /login { auth_basic "members, \"only\""; auth_basic_user_file ROOT/passwords; try_files /style.css =404; }
		location = /headers {
			add_header Set-Cookie "a=1; Path=/; HttpOnly";
			add_header Set-Cookie "b=2; Path=/; SameSite=Lax; Expires=Wed, 21 Oct 2065 07:28:00 GMT";
			add_header Link "</style.css>; rel=preload; as=style";
			add_header Link "</app.js>; rel=preload; as=script";
			add_header X-empty "";
			add_header x-MiXed-Case "kept; \"as it is\"";
			add_header Content-Security-Policy "default-src 'self'";
			add_header Strict-Transport-Security "max-age=60";
			add_header Server-Timing "cache;desc=hit";
			expires 1h;
			return 200 "headers\n";
		}
		location = /forever { expires max; try_files /style.css =404; }
		location = /state { access_log off; stub_status; }
		location /upload/ { dav_methods PUT DELETE; create_full_put_path on; client_max_body_size 64k; root ROOT; }
	}
}
`

// startNginx runs an nginx with a site of files and returns its address and the
// files, by path.
func startNginx(t *testing.T) (base string, files map[string][]byte) {
	t.Helper()
	path := program(t, "/usr/sbin/nginx", "nginx")
	root := t.TempDir()
	files = siteFiles()
	for name, content := range files {
		file := filepath.Join(root, "site", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	address := freePorts(t, 1)[0]
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // its workers would not be let into the directory
	}
	config := filepath.Join(root, "nginx.conf")
	text := strings.NewReplacer("USER", user, "ROOT", root, "ADDRESS", address).Replace(nginxConfig)
	for file, content := range map[string]string{config: text, filepath.Join(root, "passwords"): "ada:{PLAIN}secret\n"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	startProgram(t, address, exec.Command(path, "-p", root, "-c", config))
	return "http://" + address, files
}

// siteFiles are files of many kinds and sizes; half of each packs well.
func siteFiles() map[string][]byte {
	random := rand.NewChaCha8([32]byte{1})
	content := func(size int) []byte {
		b := make([]byte, size)
		_, _ = random.Read(b[:size/2])
		for i := size / 2; i < size; i++ {
			b[i] = "all work and no play\n"[i%21]
		}
		return b
	}
	files := map[string][]byte{
		"index.html":           []byte("<!doctype html><title>home</title><h1>Home</h1>" + strings.Repeat("<p>text</p>\n", 500)),
		"dir/index.html":       []byte("<!doctype html><title>dir</title>"),
		"elsewhere.html":       []byte("<!doctype html><h1>Elsewhere</h1>"),
		"errors/404.html":      []byte("<!doctype html><title>none</title><h1>No such page</h1>" + strings.Repeat("<p>look elsewhere</p>\n", 50)),
		"errors/5xx.html":      []byte("<!doctype html><h1>Back soon</h1>"),
		"list/a b.txt":         []byte("with a space"),
		"list/grün & ü.txt":    []byte("with an umlaut"),
		"list/100%.txt":        []byte("with a percent sign"),
		"list/deep/er/file.js": []byte("1"),
	}
	for _, name := range []string{"style.css", "app.js", "data.json", "drawing.svg", "image.png", "font.woff2", "film.mp4", "feed.xml", "words.txt", "unknown"} {
		files[name] = content(20_000)
	}
	for _, size := range []int{0, 1, 199, 200, 4095, 4096, 4097, 32768, 65535, 65537, 300_001, 5<<20 + 7} {
		files[fmt.Sprintf("sizes/%d.bin", size)] = content(size)
		if size < 1<<20 {
			files[fmt.Sprintf("sizes/%d.txt", size)] = content(size)
		}
	}
	return files
}

// question is a request whose answer must be the same through Sedge.
type question struct {
	method, path string
	header       []string
}

// nginxQuestions are what browsers, caches, download managers and scanners ask a
// static site.
func nginxQuestions(t *testing.T, direct *client, files map[string][]byte) []question {
	var all []question
	ask := func(method, path string, header ...string) {
		all = append(all, question{method: method, path: path, header: header})
	}
	escape := strings.NewReplacer("%", "%25", " ", "%20", "ü", "%C3%BC")
	for name := range files {
		if name == "elsewhere.html" {
			continue // what an experience names is not the origin's
		}
		for _, method := range []string{"GET", "HEAD"} {
			ask(method, "/"+escape.Replace(name))
			ask(method, "/"+escape.Replace(name), "Accept-Encoding", "gzip")
		}
	}
	for _, path := range []string{
		"/", "/dir", "/dir/", "/dir?x=1", "/list/", "/list/deep", "/list/deep/", "/none", "/none/", "/old/a?b=c", "/moved?from=1",
		"/away", "/broken", "/teapot", "/gone", "/nothing", "/login", "/headers", "/forever", "/errors/404.html", "/index.html?a=b&c",
		"//style.css", "/dir/../style.css", "/dir/%2e%2e/style.css", "/%2e%2e/%2e%2e/etc/passwd", "/../etc/passwd", "/style.css/", "/style.css%00.html",
		"/list/a%20b.txt", "/list/gr%c3%bcn%20&%20%c3%bc.txt", "/%FF", "/list/deep%2Fer/file.js", "/?" + strings.Repeat("q", 4000), "/?" + strings.Repeat("q", 12000),
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "DELETE", "BREW"} {
			ask(method, path)
		}
	}
	ask("GET", "/login", "Authorization", "Basic YWRhOnNlY3JldA==")
	ask("GET", "/login", "Authorization", "Basic YWRhOndyb25n")
	ask("GET", "/style.css", "Accept-Encoding", "br, gzip;q=0")
	ask("GET", "/style.css", "Cookie", "c="+strings.Repeat("x", 7000))
	ask("GET", "/style.css", "Cookie", "c="+strings.Repeat("x", 12000)) // beyond nginx's own limit

	for _, name := range []string{"/words.txt", "/sizes/300001.bin", "/index.html"} {
		head := direct.do("HEAD", name, "").header
		tag, date := head.Get("ETag"), head.Get("Last-Modified")
		if tag == "" || date == "" {
			t.Fatalf("%s has no validator: %v", name, head)
		}
		for _, method := range []string{"GET", "HEAD"} {
			ask(method, name, "If-None-Match", tag)
			ask(method, name, "If-None-Match", `"other", W/`+tag)
			ask(method, name, "If-None-Match", tag, "Accept-Encoding", "gzip")
			ask(method, name, "If-None-Match", `"other"`)
			ask(method, name, "If-Modified-Since", date)
			ask(method, name, "If-Modified-Since", "Mon, 01 Jan 2001 00:00:00 GMT")
			ask(method, name, "If-Match", `"other"`)
			ask(method, name, "If-Match", tag)
			ask(method, name, "If-Unmodified-Since", "Mon, 01 Jan 2001 00:00:00 GMT")
			for _, part := range []string{"0-0", "0-99", "1000-", "-500", "0-", "5-2", "99999999-", "0-9,20-29", "0-99,50-149,-20", "abc"} {
				ask(method, name, "Range", "bytes="+part)
				ask(method, name, "Range", "bytes="+part, "Accept-Encoding", "gzip")
			}
			ask(method, name, "Range", "bytes=10-19", "If-Range", tag)
			ask(method, name, "Range", "bytes=10-19", "If-Range", date)
			ask(method, name, "Range", "bytes=10-19", "If-Range", `"other"`)
			ask(method, name, "Range", "bytes=10-19", "If-None-Match", tag)
			ask(method, name, "Range", "lines=1-2")
		}
	}
	return all
}

func TestNginxSite(t *testing.T) {
	overEach(t, func(t *testing.T, p protocol) {
		base, files := startNginx(t)
		for name, personalize := range map[string]bool{"plain route": false, "an experience elsewhere": true} {
			for caches, cached := range map[string]bool{"without a cache": false, "with a cache": true} {
				t.Run(name+" "+caches, func(t *testing.T) {
					config := behind(base, personalize)
					config["cache"] = map[string]any{"disabled": !cached}
					config["experiences"] = []any{map[string]any{
						"name": "hello", "pages": []string{"/elsewhere.html"},
						"edits": []any{map[string]any{"select": "h1", "op": "set_inner", "text": "Changed"}},
					}}
					compareWithNginx(t, p.open(t, config), base, files, personalize, cached)
				})
			}
		}
	})
}

// compareWithNginx asks both. With a cache all is asked twice, so that the second answer
// may be a kept one.
func compareWithNginx(t *testing.T, f *front, base string, files map[string][]byte, personalize, cached bool) {
	direct, through := newClient(t, base), f.client(t)
	if got := through.page("/elsewhere.html").body; strings.Contains(got, "Changed") != personalize { // and a cookie
		t.Errorf("elsewhere: %s", got)
	}
	asked := nginxQuestions(t, direct, files)
	before := nginxConnections(t, direct)
	rounds := 1
	if cached {
		rounds = 2
	}
	hits, validated := 0, 0
	for range rounds {
		for _, q := range asked {
			want, got := direct.do(q.method, q.path, "", q.header...), through.do(q.method, q.path, "", q.header...)
			if cached {
				status := got.header.Get("Cache-Status")
				isHit, isValidated := strings.HasPrefix(status, "sedge; hit"), strings.Contains(status, "; fwd-status=304")
				if isHit {
					hits++
				}
				if isValidated {
					validated++
				}
				if isHit || isValidated {
					want = q.ofKept(direct, want)
				} else if strings.HasSuffix(status, "; stored") {
					want = measured(want)
				} else if got.header.Get("Age") != "" {
					t.Errorf("%s %.80s %.120q: an age, by %q", q.method, q.path, q.header, status)
				}
				got.header.Del("Cache-Status")
				got.header.Del("Age")
			}
			for _, what := range differences(f, base, got, want) {
				t.Errorf("%s %.80s %.120q: %s", q.method, q.path, q.header, what)
			}
		}
	}
	if cached && (hits == 0 || validated == 0) {
		t.Errorf("%d answers were kept ones, and %d were confirmed by nginx", hits, validated)
	}
	if opened := nginxConnections(t, direct) - before; opened > rounds*len(asked)/4 {
		t.Errorf("%d connections for %d requests", opened, rounds*len(asked))
	}
}

// ofKept turns nginx's own answer into that of a cache which has the whole body, where
// the RFCs leave a choice that nginx and Sedge take differently, or where nginx does not
// do what they ask for.
func (q question) ofKept(direct *client, want answer) answer {
	var header []string // of a request for all of it
	asked := ""
	for i := 0; i+1 < len(q.header); i += 2 {
		switch name := q.header[i]; name {
		case "Range":
			asked = q.header[i+1]
		case "If-Range", "If-None-Match", "If-Modified-Since":
		default:
			header = append(header, name, q.header[i+1])
		}
	}
	whole := direct.do(q.method, q.path, "", header...)
	switch want.status {
	case http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		switch {
		case q.method == http.MethodHead, // RFC 9110, 14.2: a Range counts for GET alone
			strings.Contains(asked, ","),               // many parts may be answered by the whole
			asked == "bytes=5-2", asked == "bytes=abc": // and so may those that are none
			want = whole
		case want.status == http.StatusRequestedRangeNotSatisfiable: // RFC 9110, 15.5.17: it needs no body
			ranged := want.header.Get("Content-Range")
			want.header = whole.header.Clone()
			want.header.Set("Content-Range", ranged)
			want.header.Set("Content-Length", "0")
			want.body, want.length = "", 0
		}
	}
	switch want.status {
	case http.StatusNotModified, http.StatusPartialContent:
		// RFC 9110, 15.3.7 and 15.4.5: Vary is to be as in a 200, which nginx forgets in a
		// 304. RFC 9111, 3.4: the rest is as kept.
		for _, name := range []string{"Vary", "Accept-Ranges"} {
			if values := whole.header.Values(name); values != nil {
				want.header[name] = values
			}
		}
	case http.StatusOK:
		if q.method == http.MethodGet {
			want = measured(want)
		}
	}
	return want
}

// measured is an answer of which all is there, so that its length is known (RFC 9110, 8.6).
func measured(a answer) answer {
	a.length = int64(len(a.body))
	a.header.Set("Content-Length", fmt.Sprint(a.length))
	return a
}

var boundary = regexp.MustCompile(`\b\d{20}\b`)

// differences says in what an answer through Sedge is not the origin's own, apart
// from what a proxy has to add: the request's id, and its own name for the site.
func differences(f *front, base string, got, want answer) (all []string) {
	note := func(what string, got, want any) {
		if got != want {
			all = append(all, fmt.Sprintf("%s: got %.300q, want %.300q", what, fmt.Sprint(got), fmt.Sprint(want)))
		}
	}
	note("status", got.status, want.status)
	note("declared length", got.length, want.length)
	plain := func(s string) string { return boundary.ReplaceAllString(s, "BOUNDARY") }
	if got.body != want.body {
		note("body", plain(got.body), plain(want.body))
	}
	if got.header.Get("X-Request-Id") == "" {
		all = append(all, "no request id")
	}
	got.header.Del("X-Request-Id")
	if date, err := http.ParseTime(got.header.Get("Date")); err != nil || time.Since(date).Abs() > time.Minute {
		note("date", got.header.Get("Date"), "now")
	}
	for name := range merged(got.header, want.header) {
		wanted := strings.ReplaceAll(plain(strings.Join(want.header[name], "\n")), base, f.url)
		if name != "Date" && name != "Connection" { // which is of each hop
			note(name, plain(strings.Join(got.header[name], "\n")), wanted)
		}
	}
	return all
}

func merged(a, b http.Header) http.Header {
	all := a.Clone()
	for name := range b {
		all[name] = nil
	}
	return all
}

var accepted = regexp.MustCompile(`(?m)^ (\d+) \d+ \d+ $`)

// nginxConnections returns how many connections nginx has accepted so far.
func nginxConnections(t *testing.T, direct *client) (n int) {
	t.Helper()
	state := direct.page("/state").body
	m := accepted.FindStringSubmatch(state)
	if m == nil {
		t.Fatalf("state: %q", state)
	}
	_, _ = fmt.Sscan(m[1], &n)
	return n
}

// What is sent to the site arrives, and what nginx refuses stays refused.
func TestNginxTakesUploads(t *testing.T) {
	overEach(t, func(t *testing.T, p protocol) {
		base, _ := startNginx(t)
		f := p.open(t, behind(base, false))
		direct, through := newClient(t, base), f.client(t)
		small, large := strings.Repeat("small", 10_000), strings.Repeat("l", 65<<10)
		for _, step := range []struct {
			method, path, body string
			status             int
		}{
			{"PUT", "/upload/a/b.bin", small, http.StatusCreated},
			{"PUT", "/upload/a/b.bin", small[1:], http.StatusNoContent},
			{"GET", "/upload/a/b.bin", "", http.StatusOK},
			{"PUT", "/upload/large.bin", large, http.StatusRequestEntityTooLarge},
			{"DELETE", "/upload/a/b.bin", "", http.StatusNoContent},
			{"GET", "/upload/a/b.bin", "", http.StatusNotFound},
		} {
			a := through.do(step.method, step.path, step.body)
			if a.status != step.status {
				t.Errorf("%s %s: status %d, want %d", step.method, step.path, a.status, step.status)
			}
			if step.status == http.StatusOK && a.body != small[1:] {
				t.Errorf("the file differs: %s", difference(a.body, small[1:]))
			}
		}
		// nginx hangs up without an answer: so there is none to pass on.
		if a, err := direct.try(http.MethodGet, "/hangs-up", ""); err == nil {
			t.Errorf("nginx answers %d", a.status)
		}
		if a := through.do(http.MethodGet, "/hangs-up", ""); a.status != http.StatusBadGateway {
			t.Errorf("an origin that hangs up: status %d", a.status)
		}
	})
}
