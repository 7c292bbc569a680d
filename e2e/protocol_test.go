package e2e

import (
	"net/http"
	"testing"
)

// front is a node as the clients of one protocol see it.
type front struct {
	*node
	url string // base URL of the site
}

// protocol is a way in which clients come.
type protocol struct {
	name string
	// serve starts a node with a configuration file.
	serve func(t *testing.T, build func() (string, error), file string) *front
}

// open starts a node with a configuration given as values.
func (p protocol) open(t *testing.T, config map[string]any) *front {
	t.Helper()
	return p.serve(t, binary, writeConfig(t, config))
}

// overEach runs a test over each protocol. What real software shows behind Sedge
// must be the same over all of them.
func overEach(t *testing.T, test func(t *testing.T, p protocol)) {
	t.Helper()
	for _, p := range []protocol{
		{"HTTP/1.1", func(t *testing.T, build func() (string, error), file string) *front {
			n := startServe(t, build, file)
			return &front{node: n, url: n.site}
		}},
	} {
		t.Run(p.name, func(t *testing.T) { test(t, p) })
	}
}

// transport returns a transport of its own that speaks the front's protocol. It
// shows answers as they are.
func (f *front) transport(t *testing.T) *http.Transport {
	transport := &http.Transport{DisableCompression: true}
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
