// Coupons is an example of a content plugin that answers for each visitor: everybody
// is shown a coupon code of their own, from one page that is kept for all.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/sdk"
)

func main() { sdk.Serve(coupons{}) }

type coupons struct{}

type settings struct {
	Select string `json:"select"` // the element to write into
	HTML   string `json:"html"`   // what to write, with {{offer "code" "fallback"}} where the code goes
	Prefix string `json:"prefix"` // what every code begins with
	Key    string `json:"key"`    // what codes are made with, so that nobody can guess them
}

func (coupons) Describe() plugins.Description {
	return plugins.Description{Name: "coupons", Version: "1.0.0", Summary: "A coupon code for each visitor"}
}

func (coupons) Configure(_ context.Context, raw json.RawMessage) (*plugins.Instance, error) {
	s := settings{Select: "#coupon", HTML: `<b>{{offer "code"}}</b>`}
	if err := plugins.DecodeSettings(raw, &s); err != nil {
		return nil, err
	}
	if s.Key == "" {
		return nil, &plugins.SettingError{Path: "key", Message: "missing: a secret that codes are made with"}
	}
	// The edit is the same for everybody. What differs is beside it, so that no page is
	// kept for each visitor.
	edits := []plugins.Edit{{Select: s.Select, Op: "set_inner", HTML: s.HTML}}
	plan := func(_ context.Context, r *plugins.Request) (*plugins.Answer, error) {
		answer := &plugins.Answer{Edits: edits}
		if r.VisitorID != "" { // bots, and people with Sec-GPC, have none
			answer.Offer = map[string]string{"code": s.code(r.VisitorID)}
		}
		return answer, nil
	}
	return &plugins.Instance{Scope: plugins.Scope{Visitor: true}, Plan: plan}, nil
}

// code makes the visitor's code. It is the same whenever they come, and tells nothing
// of their id.
func (s *settings) code(visitor string) string {
	mac := hmac.New(sha256.New, []byte(s.Key))
	_, _ = mac.Write([]byte(visitor)) // a hash takes everything
	return s.Prefix + hex.EncodeToString(mac.Sum(nil)[:6])
}
