package dashboard

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/bypass"
)

// fakeSwitches note what they are asked to do.
type fakeSwitches struct{ called string }

func (f *fakeSwitches) Off() []Off {
	return []Off{{Switch: bypass.Switch{Kind: bypass.Route, Name: "a", Reason: "secret"}}}
}

func (f *fakeSwitches) Set(kind bypass.Kind, name, reason string) error {
	f.called = fmt.Sprintf("set %s %q %q", kind, name, reason)
	switch name {
	case "absent":
		return UnknownNameError(`there is no such thing`)
	case "broken":
		return errors.New("the disk is full")
	}
	return nil
}

func (f *fakeSwitches) Lift(kind bypass.Kind, name string) error {
	f.called = fmt.Sprintf("lift %s %q", kind, name)
	return nil
}

func TestSwitchCalls(t *testing.T) {
	fake := &fakeSwitches{}
	server := testServer()
	server.node.Switches = fake
	routes := server.adminRoutes()
	f := func(method, path, body string, code int, called, answer string) {
		t.Helper()
		fake.called = ""
		r := httptest.NewRequest(method, "http://127.0.0.1:8090"+path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+testToken)
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, r)
		if w.Code != code || fake.called != called || !strings.Contains(w.Body.String(), answer) {
			t.Errorf("%s %s %q: got %d %s, called %q; want %d %q, %q", method, path, body, w.Code, w.Body, fake.called, code, answer, called)
		}
	}
	f("GET", "/api/v1/switches", "", 200, "", `"name": "a"`)
	f("PUT", "/api/v1/switches/everything", "", 200, `set everything "" ""`, `"switches"`)
	f("PUT", "/api/v1/switches/route/a%2Fb%20c", `{"reason": "broken"}`, 200, `set route "a/b c" "broken"`, "")
	f("DELETE", "/api/v1/switches/experience/x", "", 200, `lift experience "x"`, `"switches"`)
	f("PUT", "/api/v1/switches/route/absent", "", 404, `set route "absent" ""`, "there is no such thing")
	f("PUT", "/api/v1/switches/route/broken", "", 500, `set route "broken" ""`, "the disk is full")
	f("PUT", "/api/v1/switches/route", "", 400, "", "missing")
	f("PUT", "/api/v1/switches/everything/x", "", 400, "", "has no name")
	f("DELETE", "/api/v1/switches/segment/x", "", 400, "", "expected everything")
	f("PUT", "/api/v1/switches/route/a", `{"reason": "a\nb"}`, 400, "", "one line")
	f("PUT", "/api/v1/switches/route/a", `{"cause": "a"}`, 400, "", "not as expected")
	f("PUT", "/api/v1/switches/route/a", `{"reason": "`+strings.Repeat("a", maxSwitchBody)+`"}`, 400, "", "not as expected")
	f("POST", "/api/v1/switches/route/a", "", 404, "", "no such call")

	w := httptest.NewRecorder()
	routes.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "http://127.0.0.1:8090/api/v1/switches/everything", nil))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", w.Code)
	}
	w = httptest.NewRecorder()
	routes.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8090/readyz?verbose", nil))
	if body := w.Body.String(); !strings.Contains(body, `"name": "a"`) || strings.Contains(body, "secret") {
		t.Errorf("readyz shows everybody %s", body)
	}
}
