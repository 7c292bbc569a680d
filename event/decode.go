package event

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

// The limits of the Segment HTTP API, and ours on what an event may hold.
const (
	MaxCall        = 32 << 10  // bytes of one call, and of one item of a batch
	MaxBatch       = 500 << 10 // bytes of a batch
	MaxBatchEvents = 2500

	maxRepeated = 4 << 20 // bytes that the context of a batch may bring into its events

	maxID     = 100 // bytes; longer ids are replaced by their digest
	maxName   = 200
	maxKey    = 128
	maxText   = 8 << 10
	maxValues = 500 // values in properties or traits, at any depth
	maxDepth  = 8
	maxURL    = 4 << 10

	maxAhead = 5 * time.Minute // of an event's time before its receipt
)

// The kinds of calls, as the last part of the path of a request names them.
var kinds = map[string]string{
	"track": "track", "page": "page", "screen": "screen", "identify": "identify",
	"group": "group", "alias": "alias", "batch": "batch",
	"t": "track", "p": "page", "s": "screen", "i": "identify", "g": "group", "a": "alias", "b": "batch",
	"import": "batch",
	"m":      "metrics", "metrics": "metrics",
}

// Kind returns the kind of call for the last part of a path, which is the
// kind itself or the short name that Segment's browser client uses. "m" carries
// that client's own metrics and makes no events.
func Kind(name string) (string, bool) {
	kind, ok := kinds[name]
	return kind, ok
}

// DecodeError says what is wrong with a call; the answer to it is 400, because
// sending it again would not help.
type DecodeError struct {
	Item    int // index in the batch, -1 for the call as a whole
	Message string
}

func (e *DecodeError) Error() string {
	if e.Item >= 0 {
		return fmt.Sprintf("event %d of the batch: %s", e.Item, e.Message)
	}
	return e.Message
}

func refuse(format string, args ...any) error {
	return &DecodeError{Item: -1, Message: fmt.Sprintf(format, args...)}
}

// Decoded is what a call held.
type Decoded struct {
	Events  []Event
	Refused []*DecodeError // items of a batch that were left out
}

// Decode reads a call of the Segment HTTP API, of any content type and already
// unpacked. The events have no Visitor and no Segment yet: the caller knows
// whose cookie came with the call, and ids in the body prove nothing.
//
// A screen becomes the track event "Viewed NAME Screen". A group or alias is
// accepted and makes no event. A batch loses items that make no sense; it is
// refused as a whole when all of them do, or when it is not a batch at all.
// An item without a message id gets a random one.
func Decode(kind string, body []byte, received time.Time, random io.Reader) ([]Event, error) {
	decoded, err := DecodeAll(kind, body, received, random)
	return decoded.Events, err
}

// DecodeAll is [Decode] that also tells what it left out of a batch.
func DecodeAll(kind string, body []byte, received time.Time, random io.Reader) (Decoded, error) {
	kind, ok := Kind(kind)
	if !ok {
		return Decoded{}, refuse("unknown kind of call")
	}
	limit := MaxCall
	if kind == "batch" {
		limit = MaxBatch
	}
	if len(body) > limit {
		return Decoded{}, refuse("the call has %d bytes, at most %d are allowed", len(body), limit)
	}
	if kind == "metrics" {
		return Decoded{}, nil
	}
	d := decoder{received: received.UTC().Round(0), random: random}
	if kind == "batch" {
		return d.batch(body)
	}
	var c call
	if err := unmarshal(body, &c); err != nil {
		return Decoded{}, err
	}
	e, err := d.event(kind, &c)
	if err != nil || e == nil {
		return Decoded{}, err
	}
	return Decoded{Events: []Event{*e}}, nil
}

// call is one call or one item of a batch.
type call struct {
	Type              label           `json:"type"`
	MessageID         label           `json:"messageId"`
	Event             json.RawMessage `json:"event"`
	Name              json.RawMessage `json:"name"`
	Timestamp         json.RawMessage `json:"timestamp"`
	OriginalTimestamp json.RawMessage `json:"originalTimestamp"`
	SentAt            json.RawMessage `json:"sentAt"`
	Properties        json.RawMessage `json:"properties"`
	Traits            json.RawMessage `json:"traits"`
	Context           json.RawMessage `json:"context"`
}

// surroundings are the parts of a call's context that matter here.
type surroundings struct {
	Page   json.RawMessage `json:"page"`
	Traits json.RawMessage `json:"traits"`
}

type pageInfo struct {
	Path   label `json:"path"`
	URL    label `json:"url"`
	Search label `json:"search"`
}

func unmarshal(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrongType):
		return refuse("expected a JSON object")
	default:
		return refuse("not valid JSON: %v", err)
	}
}

type decoder struct {
	received time.Time
	random   io.Reader
	sentAt   time.Time    // of the batch
	shared   surroundings // of the batch
	repeated int          // bytes of shared that stand in events so far
}

func (d *decoder) batch(body []byte) (Decoded, error) {
	var b struct {
		Batch   []json.RawMessage `json:"batch"`
		SentAt  json.RawMessage   `json:"sentAt"`
		Context json.RawMessage   `json:"context"`
	}
	if err := unmarshal(body, &b); err != nil {
		return Decoded{}, err
	}
	if b.Batch == nil {
		return Decoded{}, refuse(`"batch" is missing`)
	}
	if len(b.Batch) > MaxBatchEvents {
		return Decoded{}, refuse("the batch has %d events, at most %d are allowed", len(b.Batch), MaxBatchEvents)
	}
	d.sentAt, _ = parseTime(b.SentAt)
	if len(b.Context) > MaxCall {
		return Decoded{}, refuse(`"context" of the batch has %d bytes, at most %d are allowed`, len(b.Context), MaxCall)
	}
	if len(b.Context) > 0 {
		_ = json.Unmarshal(b.Context, &d.shared)
	}
	decoded := Decoded{Events: make([]Event, 0, len(b.Batch))}
	for i, item := range b.Batch {
		e, err := d.item(item)
		var wrong *DecodeError
		switch {
		case errors.As(err, &wrong):
			wrong.Item = i
			decoded.Refused = append(decoded.Refused, wrong)
		case err != nil:
			return Decoded{}, err
		case e != nil:
			decoded.Events = append(decoded.Events, *e)
		}
	}
	if n := len(decoded.Refused); n > 0 && n == len(b.Batch) {
		return decoded, decoded.Refused[0]
	}
	return decoded, nil
}

func (d *decoder) item(item json.RawMessage) (*Event, error) {
	if len(item) > MaxCall {
		return nil, refuse("it has %d bytes, at most %d are allowed", len(item), MaxCall)
	}
	var c call
	if err := unmarshal(item, &c); err != nil {
		return nil, err
	}
	kind, ok := kinds[string(c.Type)]
	if !ok || kind == "batch" || kind == "metrics" || len(c.Type) == 1 {
		return nil, refuse(`"type" must be one of track, page, screen, identify, group and alias`)
	}
	return d.event(kind, &c)
}

// event makes an event of a call; nil for a kind that makes none.
func (d *decoder) event(kind string, c *call) (*Event, error) {
	e := &Event{Received: d.received, Time: d.time(c)}
	var err error
	if e.ID, err = d.id(string(c.MessageID)); err != nil {
		return nil, err
	}
	page, traits, err := d.surroundings(kind, c)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "track":
		e.Type = Track
		if e.Name, err = text("event", c.Event, true); err != nil {
			return nil, err
		}
	case "page":
		e.Type = Page
		if e.Name, err = text("name", c.Name, false); err != nil {
			return nil, err
		}
	case "screen":
		e.Type = Track
		name, err := text("name", c.Name, false)
		if err != nil {
			return nil, err
		}
		e.Name = strings.Join(strings.Fields("Viewed "+name+" Screen"), " ")
	case "identify":
		e.Type = Identify
		if isNull(c.Traits) {
			c.Traits = traits
		}
		e.Traits, err = object("traits", c.Traits)
		return e, err
	default:
		return nil, nil
	}
	if e.Properties, err = object("properties", c.Properties); err != nil {
		return nil, err
	}
	e.Path, e.Query = where(kind, e.Properties, page)
	return e, nil
}

func (d *decoder) id(id string) (string, error) {
	if len(id) > maxID {
		sum := sha256.Sum256([]byte(id))
		return hex.EncodeToString(sum[:]), nil
	}
	if id != "" {
		return id, nil
	}
	var b [16]byte
	if _, err := io.ReadFull(d.random, b[:]); err != nil {
		return "", fmt.Errorf("make a message id: %w", err)
	}
	return "sedge-" + hex.EncodeToString(b[:]), nil
}

// time corrects the client's clock: what it says of its own time when it sends
// is compared with ours when we receive.
func (d *decoder) time(c *call) time.Time {
	original, ok := parseTime(c.OriginalTimestamp)
	if !ok {
		original, ok = parseTime(c.Timestamp)
	}
	if !ok {
		return d.received
	}
	sent, ok := parseTime(c.SentAt)
	if !ok {
		sent = d.sentAt
	}
	at := original
	if !sent.IsZero() {
		at = d.received.Add(-sent.Sub(original))
	}
	if at.Year() < 2000 {
		return d.received // a clock that was never set
	}
	if limit := d.received.Add(maxAhead); at.After(limit) {
		return limit
	}
	return at
}

var timeLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999", "2006-01-02",
}

// parseTime reads a time as clients write it: ISO 8601, or milliseconds since
// 1970 as a number.
func parseTime(raw json.RawMessage) (time.Time, bool) {
	var l label
	if len(raw) == 0 || l.UnmarshalJSON(raw) != nil || l == "" {
		return time.Time{}, false
	}
	if raw[0] != '"' {
		var ms float64
		if json.Unmarshal(raw, &ms) != nil || ms < 0 || ms > 1e14 {
			return time.Time{}, false
		}
		return time.UnixMilli(int64(ms)).UTC(), true
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, string(l)); err == nil {
			return t.UTC(), t.Year() >= 1970
		}
	}
	return time.Time{}, false
}

// surroundings returns the page and the traits of a call's context, which the
// context of the batch completes.
//
// What the batch says once stands in each event then, so all of it together is
// bounded.
func (d *decoder) surroundings(kind string, c *call) (page pageInfo, traits json.RawMessage, err error) {
	var own surroundings
	_ = json.Unmarshal(c.Context, &own)
	used := 0
	if isNull(own.Page) {
		own.Page = d.shared.Page
		used += len(own.Page)
	}
	if isNull(own.Traits) && isNull(c.Traits) && kind == "identify" {
		own.Traits = d.shared.Traits
		used += len(own.Traits)
	}
	if d.repeated += used; d.repeated > maxRepeated {
		return page, nil, refuse(`the context of the batch is repeated in too many events: send fewer in a batch`)
	}
	if len(own.Page) > 0 {
		_ = json.Unmarshal(own.Page, &page)
	}
	return page, own.Traits, nil
}

// where returns the decoded path and the raw query of the page of an event. A
// page call names it in its properties, every call in its context.
func where(kind string, properties map[string]any, page pageInfo) (path, query string) {
	if kind == "page" {
		own := pageInfo{Path: stringOf(properties["path"]), URL: stringOf(properties["url"]), Search: stringOf(properties["search"])}
		if own.Path != "" || own.URL != "" {
			page = own
		}
	}
	if len(page.URL) <= maxURL {
		if u, err := url.Parse(string(page.URL)); err == nil && page.URL != "" {
			path, query = u.Path, u.RawQuery
		}
	}
	if page.Path != "" && len(page.Path) <= maxURL {
		path = string(page.Path)
		if decoded, err := url.PathUnescape(path); err == nil {
			path = decoded
		}
	}
	if page.Search != "" && len(page.Search) <= maxURL {
		query = strings.TrimPrefix(string(page.Search), "?")
	}
	if path != "" && !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return path, query
}
