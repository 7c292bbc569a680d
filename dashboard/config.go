package dashboard

import (
	"net"
	"net/netip"
	"strconv"

	"github.com/sedge-proxy/sedge/decision"
)

// Config are the settings of the admin listener.
type Config struct {
	// Listen is the address of the admin listener. Its API shows what is known of
	// visitors in sum, so it stays on this machine unless the owner says otherwise.
	Listen string `mapstructure:"listen"`

	// StatusListen is an optional second address that serves only /healthz,
	// /readyz and /metrics and may be open to other machines.
	StatusListen string `mapstructure:"status_listen"`

	// Hosts are further names under which the admin listener may be called, as
	// when it stands behind a name of its own. Others are refused, so that a web
	// page in the owner's browser cannot reach it by a name that it controls.
	Hosts []string `mapstructure:"hosts"`
}

// DefaultConfig returns the settings of a configuration that names none.
func DefaultConfig() Config { return Config{Listen: "127.0.0.1:8090"} }

// Validate reports what is wrong with the settings.
func (c *Config) Validate() decision.Faults {
	var faults decision.Faults
	checkAddress(&faults, "listen", c.Listen)
	if c.StatusListen != "" {
		checkAddress(&faults, "status_listen", c.StatusListen)
	}
	return faults
}

func checkAddress(faults *decision.Faults, path, address string) {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		faults.Add(path, "found %q; expected HOST:PORT or :PORT, as in \"127.0.0.1:8090\"", address)
	}
}

// isLoopback reports whether a host name or address means this machine.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}
