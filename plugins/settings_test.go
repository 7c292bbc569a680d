package plugins

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

type testSettings struct {
	Name   string            `json:"name"`
	Limit  int               `json:"limit"`
	Share  float64           `json:"share"`
	On     bool              `json:"on"`
	When   time.Time         `json:"when"`
	Items  []testItem        `json:"items"`
	Words  map[string]string `json:"words"`
	Free   any               `json:"free"`
	Raw    json.RawMessage   `json:"raw"`
	Hidden string            `json:"-"`
	testEmbedded
}

type testItem struct {
	Count uint `json:"count"`
}

type testEmbedded struct {
	Inner string `json:"inner"`
}

func TestDecodeSettings(t *testing.T) {
	for _, c := range []struct {
		settings string
		want     []string // paths of the errors, sorted as reported
	}{
		{`{}`, nil}, {``, nil}, {` `, nil}, {`null`, nil},
		{`{"name":"a","limit":3,"share":0.5,"on":true,"when":"2026-01-02T03:04:05Z","items":[{"count":1}],"words":{"a":"b"},"free":[1],"raw":{"x":1},"inner":"y"}`, nil},
		{`{"name":null}`, nil},
		{`{"nam":"a"}`, []string{"nam"}}, {`{"Hidden":"a"}`, []string{"Hidden"}}, {`{"Name":"a"}`, []string{"Name"}},
		{`{"name":5,"limit":"x","share":[],"on":1}`, []string{"limit", "name", "on", "share"}},
		{`{"limit":1.5}`, []string{"limit"}}, {`{"limit":99999999999999999999}`, []string{"limit"}},
		{`{"when":"soon"}`, []string{"when"}},
		{`{"items":[{"count":1},{"cont":2},{"count":-1},7]}`, []string{"items[1].cont", "items[2].count", "items[3]"}},
		{`{"items":{}}`, []string{"items"}}, {`{"words":{"a":1}}`, []string{"words.a"}}, {`{"words":[]}`, []string{"words"}},
		{`[]`, []string{""}}, {`{`, []string{""}}, {`{} {}`, []string{""}}, {`"x"`, []string{""}},
	} {
		var s testSettings
		err := DecodeSettings(json.RawMessage(c.settings), &s)
		var got []string
		for _, e := range SettingErrors(err) {
			got = append(got, e.Path)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: errors at %q, want %q: %v", c.settings, got, c.want, err)
		}
	}
	s := testSettings{Name: "kept", Limit: 7}
	if err := DecodeSettings(json.RawMessage(`{"limit":8}`), &s); err != nil || s.Name != "kept" || s.Limit != 8 {
		t.Errorf("got %+v, %v", s, err)
	}
	err := DecodeSettings(json.RawMessage(`{"limit":"`+strings.Repeat("x", 100)+`"}`), &s)
	if err == nil || !strings.HasPrefix(err.Error(), `limit: found "xxxx`) || !strings.HasSuffix(err.Error(), "expected a whole number") || len(err.Error()) > 120 {
		t.Errorf("got %v", err)
	}
}

func TestSettingErrors(t *testing.T) {
	a, b := &SettingError{Path: "a", Message: "x"}, &SettingError{Message: "y"}
	err := fmt.Errorf("outer: %w", errors.Join(a, errors.New("other"), fmt.Errorf("inner: %w", b)))
	if got := SettingErrors(err); !reflect.DeepEqual(got, []*SettingError{a, b}) {
		t.Errorf("got %v", got)
	}
	if SettingErrors(nil) != nil || SettingErrors(errors.New("x")) != nil {
		t.Error("found errors where there are none")
	}
	if a.Error() != "a: x" || b.Error() != "y" {
		t.Errorf("got %q and %q", a, b)
	}
}

func FuzzDecodeSettings(f *testing.F) {
	f.Add(`{"items":[{"count":1}],"words":{"a":"b"}}`)
	f.Fuzz(func(t *testing.T, settings string) {
		var strict, loose testSettings
		if DecodeSettings(json.RawMessage(settings), &strict) != nil || strings.TrimSpace(settings) == "" {
			return
		}
		if err := json.Unmarshal([]byte(settings), &loose); err != nil {
			t.Errorf("accepted what encoding/json refuses: %v", err)
		}
	})
}
