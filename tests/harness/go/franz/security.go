package main

import (
	"context"
	"fmt"

	"carrick/peer/line"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

var kinds = line.Kinds{
	Authentication: []error{kerr.SaslAuthenticationFailed},
	Authorization: []error{
		kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed,
	},
	// What it says of a token that the broker refused.
	Unnamed: "unexpected data in oauth response",
}

func security(s *line.Security) ([]kgo.Opt, error) {
	config, err := s.TLS()
	if err != nil || s == nil {
		return nil, err
	}
	var options []kgo.Opt
	if config != nil {
		options = append(options, kgo.DialTLSConfig(config))
	}
	var mechanism sasl.Mechanism
	switch s.Mechanism {
	case "":
		return options, nil
	case "PLAIN":
		mechanism = plain.Auth{User: s.User, Pass: s.Password}.AsMechanism()
	case "SCRAM-SHA-256":
		mechanism = scram.Auth{User: s.User, Pass: s.Password}.AsSha256Mechanism()
	case "SCRAM-SHA-512":
		mechanism = scram.Auth{User: s.User, Pass: s.Password}.AsSha512Mechanism()
	case "OAUTHBEARER":
		mechanism = oauth.Auth{Token: s.Token}.AsMechanism()
	default:
		return nil, fmt.Errorf("unknown mechanism %s", s.Mechanism)
	}
	return append(options, kgo.SASL(mechanism)), nil
}

// reached asks whether a broker lets the client in, as the library advises: it would try again for ever.
func reached(ctx context.Context, cl *kgo.Client, q *line.Request) error {
	if q.Security == nil {
		return nil
	}
	return cl.Ping(ctx)
}
