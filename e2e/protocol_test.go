package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// front is a node as the clients of one protocol see it.
type front struct {
	*node
	url    string         // base URL of the site
	roots  *x509.CertPool // of the site's certificate; nil over plain HTTP
	key    string         // its key's hash, for browsers to trust; "" over plain HTTP
	server map[string]any // settings that the protocol needs
	file   string         // of the configuration
}

// protocol is a way in which clients come.
type protocol struct {
	name   string
	secure bool
}

// overEach runs a test over each protocol. What real software shows behind Sedge
// must be the same over all of them.
func overEach(t *testing.T, test func(t *testing.T, p protocol)) {
	t.Helper()
	for _, p := range []protocol{{"HTTP/1.1", false}, {"HTTP/2", true}} {
		t.Run(p.name, func(t *testing.T) { test(t, p) })
	}
}

// front prepares a node that is not started yet.
func (p protocol) front(t *testing.T) *front {
	t.Helper()
	f := &front{file: filepath.Join(t.TempDir(), "sedge.yaml")}
	if p.secure {
		files, address := newCertificate(t, "127.0.0.1"), freePorts(t, 1)[0]
		f.url, f.roots = "https://"+address, files.roots(t)
		f.key = files.keyHash(t)
		f.server = map[string]any{"tls": map[string]any{
			"listen": address, "certificates": []any{map[string]any{"cert_file": files.cert, "key_file": files.key}},
		}}
	}
	return f
}

func (f *front) start(t *testing.T, build func() (string, error)) {
	t.Helper()
	f.node = startServe(t, build, f.file)
	if f.url == "" {
		f.url = f.site
	}
}

// open starts a node with a configuration given as values.
func (p protocol) open(t *testing.T, config map[string]any) *front {
	t.Helper()
	f := p.front(t)
	f.configure(t, config)
	f.start(t, binary)
	return f
}

// configure writes the configuration's file.
func (f *front) configure(t *testing.T, config map[string]any) {
	t.Helper()
	server := maps.Clone(f.server)
	if own, ok := config["server"].(map[string]any); ok {
		if server == nil {
			server = map[string]any{}
		}
		maps.Copy(server, own)
	}
	if server != nil {
		config["server"] = server
	}
	text, err := json.Marshal(config) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// openFile starts a node with a file as a person has it.
func (p protocol) openFile(t *testing.T, build func() (string, error), file string) *front {
	t.Helper()
	f := p.front(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	more := ""
	for name, setting := range f.server {
		value, err := json.Marshal(setting)
		if err != nil {
			t.Fatal(err)
		}
		more += "  " + name + ": " + string(value) + "\n"
	}
	changed := strings.Replace(string(text), "\nserver:\n", "\nserver:\n"+more, 1)
	if err := os.WriteFile(f.file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	f.start(t, build)
	return f
}

// transport returns a transport of its own that speaks the front's protocol. It
// shows answers as they are.
func (f *front) transport(t *testing.T) *http.Transport {
	transport := f.upgradable(t)
	transport.ForceAttemptHTTP2 = f.roots != nil
	return transport
}

// upgradable returns a transport that speaks HTTP/1.1, over TLS too, as WebSockets
// need it.
func (f *front) upgradable(t *testing.T) *http.Transport {
	transport := &http.Transport{DisableCompression: true}
	if f.roots != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: f.roots}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// client returns a client with cookies of its own.
func (f *front) client(t *testing.T) *client {
	t.Helper()
	return clientOver(t, f.url, f.transport(t))
}

// behind is the configuration of a node in front of one origin. Its pages are
// personalized as they say, and none of them unless an experience names it.
func behind(upstream string, personalize bool) map[string]any {
	return map[string]any{
		"upstreams": []any{map[string]any{"name": "site", "url": upstream}},
		"routes":    []any{map[string]any{"name": "everything", "upstream": "site", "personalize": personalize}},
	}
}
