package wire

import (
	"errors"
	"fmt"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
)

func describeToWire(d plugins.Description) *DescribeResponse {
	return &DescribeResponse{Name: text(d.Name), Version: text(d.Version), Summary: clip(d.Summary, 512), Schema: d.Schema}
}

func describeFromWire(d *DescribeResponse) plugins.Description {
	return plugins.Description{Name: d.GetName(), Version: d.GetVersion(), Summary: d.GetSummary(), Schema: d.GetSchema()}
}

func scopeToWire(s plugins.Scope) *Scope {
	return &Scope{
		Page: s.Page, Query: s.Query, Segment: s.Segment,
		Experiments: s.Experiments, Attributes: s.Attributes, Visitor: s.Visitor,
		Bodies: convertAll[string](s.Bodies),
	}
}

func scopeFromWire(s *Scope) plugins.Scope {
	return plugins.Scope{
		Page: s.GetPage(), Query: s.GetQuery(), Segment: s.GetSegment(),
		Experiments: s.GetExperiments(), Attributes: s.GetAttributes(), Visitor: s.GetVisitor(),
		Bodies: convertAll[decision.Body](s.GetBodies()),
	}
}

func convertAll[To, From ~string](list []From) []To {
	var out []To
	for _, s := range list {
		out = append(out, To(s))
	}
	return out
}

func requestToWire(instance uint64, r *plugins.Request) *PlanRequest {
	r = Repair(r)
	return &PlanRequest{
		Instance: instance,
		Host:     r.Page.Host, Path: r.Page.Path, RawQuery: r.Page.Query,
		Query: r.Query, Segment: r.Segment, Arms: r.Arms,
		Attributes: r.Attributes, VisitorId: r.VisitorID,
	}
}

// Repair returns a copy of a request that is fit to cross: all of it valid UTF-8.
func Repair(r *plugins.Request) *plugins.Request {
	out := *r
	out.Page = plugins.Page{Host: text(r.Page.Host), Path: text(r.Page.Path), Query: text(r.Page.Query)}
	out.Segment, out.VisitorID = text(r.Segment), text(r.VisitorID)
	out.Query, out.Arms, out.Attributes = texts(r.Query), texts(r.Arms), texts(r.Attributes)
	return &out
}

// texts makes the strings of a map fit to cross; the usual map is returned as it is.
func texts(m map[string]string) map[string]string {
	for k, v := range m {
		if text(k) != k || text(v) != v {
			return repaired(m)
		}
	}
	return m
}

func repaired(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[text(k)] = text(v)
	}
	return out
}

func requestFromWire(r *PlanRequest) *plugins.Request {
	return &plugins.Request{
		Page:  plugins.Page{Host: r.GetHost(), Path: r.GetPath(), Query: r.GetRawQuery()},
		Query: r.GetQuery(), Segment: r.GetSegment(), Arms: r.GetArms(),
		Attributes: r.GetAttributes(), VisitorID: r.GetVisitorId(),
	}
}

func answerToWire(a *plugins.Answer) *PlanResponse {
	out := &PlanResponse{TtlMs: ttlToWire(a.TTL), Offer: a.Offer}
	if len(a.Edits) > 0 {
		out.Edits = make([]*Edit, len(a.Edits))
	}
	for i, e := range a.Edits {
		out.Edits[i] = &Edit{Select: e.Select, Op: string(e.Op), Text: e.Text, Html: e.HTML, Name: e.Name, Value: e.Value, Pattern: e.Pattern, Required: e.Required,
			Body: string(e.Body), Pointer: e.Pointer, Json: string(e.JSON)}
	}
	if a.Action.IsZero() {
		return out
	}
	out.Action = &Action{Redirect: a.Action.Redirect, Status: int32(min(max(a.Action.Status, -1), 1000)), Path: a.Action.Path}
	for _, h := range a.Action.Headers {
		out.Action.Headers = append(out.Action.Headers, &Header{Name: h[0], Value: h[1]})
	}
	return out
}

func answerFromWire(r *PlanResponse) *plugins.Answer {
	out := &plugins.Answer{TTL: ttlFromWire(r.GetTtlMs()), Offer: r.GetOffer()}
	if n := len(r.GetEdits()); n > 0 {
		out.Edits = make([]plugins.Edit, n)
	}
	for i, e := range r.GetEdits() {
		out.Edits[i] = plugins.Edit{
			Select: e.GetSelect(), Op: decision.Op(e.GetOp()), Text: e.GetText(),
			HTML: e.GetHtml(), Name: e.GetName(), Value: e.GetValue(), Pattern: e.GetPattern(), Required: e.GetRequired(),
			Body: decision.Body(e.GetBody()), Pointer: e.GetPointer(), JSON: decision.JSON(e.GetJson()),
		}
	}
	if a := r.GetAction(); a != nil {
		out.Action = plugins.Action{Redirect: a.GetRedirect(), Status: int(a.GetStatus()), Path: a.GetPath()}
		for _, h := range a.GetHeaders() {
			out.Action.Headers = append(out.Action.Headers, [2]string{h.GetName(), h.GetValue()})
		}
	}
	return out
}

// ttlToWire rounds up, so that a short life does not become an endless one.
func ttlToWire(ttl time.Duration) int64 {
	ttl = min(ttl, MaxTTL)
	ms := ttl.Milliseconds()
	if ttl > 0 && ttl%time.Millisecond != 0 {
		ms++
	}
	return ms
}

func ttlFromWire(ms int64) time.Duration {
	switch {
	case ms < 0:
		return -1
	case ms > MaxTTL.Milliseconds():
		return MaxTTL
	}
	return time.Duration(ms) * time.Millisecond
}

// errorsToWire takes a Configure error apart, so that the path of each setting survives.
func errorsToWire(err error) []*SettingError {
	var out []*SettingError
	var walk func(error)
	walk = func(err error) {
		if err == nil || len(out) >= MaxErrors {
			return
		}
		if e, ok := err.(*plugins.SettingError); ok {
			out = append(out, &SettingError{Path: clip(e.Path, 512), Message: clip(e.Message, MaxErrorBytes)})
			return
		}
		switch wrapped := err.(type) {
		case interface{ Unwrap() []error }:
			for _, e := range wrapped.Unwrap() {
				walk(e)
			}
			return
		case interface{ Unwrap() error }:
			var setting *plugins.SettingError
			if errors.As(err, &setting) {
				walk(wrapped.Unwrap())
				return
			}
		}
		out = append(out, &SettingError{Message: clip(err.Error(), MaxErrorBytes), Plain: true})
	}
	walk(err)
	return out
}

func errorsFromWire(list []*SettingError) error {
	errs := make([]error, 0, len(list))
	for _, e := range list[:min(len(list), MaxErrors)] {
		if e.GetPlain() {
			errs = append(errs, errors.New(clip(e.GetMessage(), MaxErrorBytes)))
			continue
		}
		errs = append(errs, &plugins.SettingError{Path: clip(e.GetPath(), 512), Message: clip(e.GetMessage(), MaxErrorBytes)})
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// panicError is what a panic of author code becomes.
func panicError(value any) error {
	return fmt.Errorf("panic: %s", clip(fmt.Sprint(value), MaxErrorBytes))
}
