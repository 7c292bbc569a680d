// Package plugins is the contract between Sedge and a content plugin.
//
// A plugin is a value with two methods: [Plugin.Describe] says what it is, and
// [Plugin.Configure] turns the settings of one experience into an [Instance],
// which answers [Request]s for pages. The same interface is implemented by a
// plugin's author, by the client of a plugin process, and by the plugins that
// Sedge ships.
//
// A plugin never sees the body of a page. It answers with edits (which elements
// to change, by CSS selector) and request actions (redirect, other path, headers
// to the origin); Sedge applies them. An answer is kept for exactly what the
// instance's [Scope] names, so a plugin is asked rarely and a page never waits for
// it twice.
//
// Authors serve a plugin with package plugins/sdk and check it with
// plugins/plugintest.
package plugins

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

// The values of an answer, for authors who import only this package.
type (
	Edit   = decision.Edit
	Body   = decision.Body
	JSON   = decision.JSON
	Action = decision.Action
	Scope  = decision.Scope
	Page   = decision.Page
)

// Plugin is what an author implements. Its methods may be called concurrently.
type Plugin interface {
	// Describe says what the plugin is. It must answer at once and always alike.
	Describe() Description

	// Configure checks the settings of one experience and makes an instance of
	// them. A wrong setting is reported as a [*SettingError], or several joined by
	// [errors.Join].
	Configure(ctx context.Context, settings json.RawMessage) (*Instance, error)
}

// Description says what a plugin is.
type Description struct {
	Name    string          // lower case, as in "offers"
	Version string          // as in "1.2.0"; answers are kept per version
	Summary string          // one line for people
	Schema  json.RawMessage // JSON Schema of the settings; nil: not stated
}

// Instance is a plugin configured for one experience.
type Instance struct {
	// Scope names what answers may depend on.
	Scope Scope

	// Plan answers for one request. It is called concurrently, with a deadline in
	// ctx; a late answer may still serve later requests.
	Plan func(ctx context.Context, r *Request) (*Answer, error)

	// Close releases what the instance holds, once no request uses it. May be nil.
	Close func()
}

// Request is one question to a plugin. It holds what the instance's scope names
// and nothing else; the rest is zero.
type Request struct {
	Page       Page              // host and path; Query holds the named keys only
	Query      map[string]string // values of the query keys in the scope
	Segment    string            // primary segment, "" for none
	Arms       map[string]string // arm by experiment
	Attributes map[string]string // request attributes by name
	VisitorID  string
}

// Answer is what a plugin wants done.
type Answer struct {
	Edits  []Edit
	Action Action

	// Offer holds values for the slots {{offer "name" "fallback"}} in Edits, by
	// name. Answers that differ in nothing else share what is kept of a page, so a
	// plugin that is asked per visitor does not cost a page per visitor.
	Offer map[string]string

	// TTL bounds how long the answer may be used again; zero means until the
	// configuration changes.
	TTL time.Duration
}

// SettingError says which setting is wrong and why.
type SettingError struct {
	Path    string // as in "offers[0].title"; "" for the settings as a whole
	Message string // what was found and what was expected
}

func (e *SettingError) Error() string {
	if e.Path == "" {
		return e.Message
	}
	return e.Path + ": " + e.Message
}
