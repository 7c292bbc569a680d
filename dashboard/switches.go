package dashboard

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/sedge-proxy/sedge/bypass"
)

// Off is one thing that is turned off on a node.
type Off struct {
	bypass.Switch

	// Config tells that the configuration turns it off, so that no call can lift it;
	// Since and Reason are empty then.
	Config bool `json:"config,omitempty"`

	// NamesNothing tells that the configuration has nothing of this name.
	NamesNothing bool `json:"names_nothing,omitempty"`
}

// SwitchList is the answer to every call about kill switches: what is off now.
type SwitchList struct {
	Switches []Off `json:"switches"`
}

// Switches sets and lifts the kill switches of a node. What they say holds for every
// request that begins after they have returned.
type Switches interface {
	// Off lists what is off, by switch or by configuration.
	Off() []Off
	// Set returns an [UnknownNameError] if the configuration has nothing of this name.
	Set(kind bypass.Kind, name, reason string) error
	Lift(kind bypass.Kind, name string) error
}

// UnknownNameError says that a switch names nothing.
type UnknownNameError string

func (e UnknownNameError) Error() string { return string(e) }

// maxSwitchBody bounds what a call to set a switch may say.
const maxSwitchBody = 4 << 10

func (s *Server) listSwitches(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, SwitchList{s.node.Switches.Off()})
}

func (s *Server) setSwitch(w http.ResponseWriter, r *http.Request) {
	wanted, ok := namedSwitch(w, r)
	if !ok {
		return
	}
	var body struct {
		Reason string `json:"reason"`
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSwitchBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil && !errors.Is(err, io.EOF) {
		writeError(w, http.StatusBadRequest, `the body is not as expected: {"reason": "…"}, or none`)
		return
	}
	wanted.Reason = body.Reason
	if err := wanted.Check(); err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	s.answerSwitch(w, s.node.Switches.Set(wanted.Kind, wanted.Name, wanted.Reason))
}

func (s *Server) liftSwitch(w http.ResponseWriter, r *http.Request) {
	if wanted, ok := namedSwitch(w, r); ok {
		s.answerSwitch(w, s.node.Switches.Lift(wanted.Kind, wanted.Name))
	}
}

// namedSwitch takes the switch from the path.
func namedSwitch(w http.ResponseWriter, r *http.Request) (bypass.Switch, bool) {
	named := bypass.Switch{Kind: bypass.Kind(r.PathValue("kind")), Name: r.PathValue("name")}
	if err := named.Check(); err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return named, false
	}
	return named, true
}

func (s *Server) answerSwitch(w http.ResponseWriter, err error) {
	var unknown UnknownNameError
	switch {
	case errors.As(err, &unknown):
		writeError(w, http.StatusNotFound, err.Error())
	case err != nil:
		writeError(w, http.StatusInternalServerError, err.Error())
	default:
		writeJSON(w, http.StatusOK, SwitchList{s.node.Switches.Off()})
	}
}

// openOff is what /readyz shows of a switch to anybody: not why.
type openOff struct {
	Kind   bypass.Kind `json:"kind"`
	Name   string      `json:"name,omitempty"`
	Since  *time.Time  `json:"since,omitempty"`
	Config bool        `json:"config,omitempty"`
}

func (s *Server) openOffs() []openOff {
	offs := []openOff{}
	for _, off := range s.node.Switches.Off() {
		shown := openOff{Kind: off.Kind, Name: off.Name, Config: off.Config}
		if !off.Since.IsZero() {
			shown.Since = &off.Since
		}
		offs = append(offs, shown)
	}
	return offs
}
