package line

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"slices"
	"strings"
)

// Security is what a request says of listener and credentials.
type Security struct {
	Protocol string `json:"protocol"`
	// PEM files: authorities; key and certificate of the client.
	CA       string `json:"ca"`
	Identity string `json:"identity"`
	// Empty where nobody logs in.
	Mechanism string `json:"mechanism"`
	User      string `json:"user"`
	Password  string `json:"password"`
	Token     string `json:"token"`
}

// TLS is the configuration of a client's connections, or nil for plain ones.
func (s *Security) TLS() (*tls.Config, error) {
	if s == nil || !strings.HasSuffix(s.Protocol, "SSL") {
		return nil, nil
	}
	pem, err := os.ReadFile(s.CA)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New(s.CA + " has no certificate")
	}
	if s.Identity == "" {
		return config, nil
	}
	own, err := tls.LoadX509KeyPair(s.Identity, s.Identity)
	config.Certificates = []tls.Certificate{own}
	return config, err
}

// Kinds are a library's own errors of refusals.
type Kinds struct {
	Authentication []error
	Authorization  []error
	// The text of an error of authentication that the library does not export.
	Unnamed string
}

// Of says what kind of refusal an error is; empty for others.
func (k Kinds) Of(err error) string {
	is := func(known error) bool { return errors.Is(err, known) }
	if slices.ContainsFunc(k.Authentication, is) || k.Unnamed != "" && strings.Contains(err.Error(), k.Unnamed) {
		return "authentication"
	}
	if slices.ContainsFunc(k.Authorization, is) {
		return "authorization"
	}
	// Of an alert of the other side, the standard library exports nothing but the text.
	if text := err.Error(); strings.Contains(text, "tls: ") || strings.Contains(text, "x509: ") {
		return "tls"
	}
	return ""
}
