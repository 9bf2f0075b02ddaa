package main

import (
	"crypto/tls"
	"fmt"
	"time"

	"carrick/peer/line"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

var kinds = line.Kinds{
	Authentication: []error{kafka.SASLAuthenticationFailed},
	Authorization: []error{
		kafka.TopicAuthorizationFailed, kafka.GroupAuthorizationFailed, kafka.ClusterAuthorizationFailed,
		kafka.TransactionalIDAuthorizationFailed,
	},
}

func security(s *line.Security) (*tls.Config, sasl.Mechanism, error) {
	config, err := s.TLS()
	if err != nil || s == nil {
		return nil, nil, err
	}
	var mechanism sasl.Mechanism
	switch s.Mechanism {
	case "":
	case "PLAIN":
		mechanism = plain.Mechanism{Username: s.User, Password: s.Password}
	case "SCRAM-SHA-256":
		mechanism, err = scram.Mechanism(scram.SHA256, s.User, s.Password)
	case "SCRAM-SHA-512":
		mechanism, err = scram.Mechanism(scram.SHA512, s.User, s.Password)
	default:
		err = fmt.Errorf("the library has no %s", s.Mechanism)
	}
	return config, mechanism, err
}

func dialer(q *line.Request) *kafka.Dialer {
	config, mechanism, err := security(q.Security)
	if err != nil {
		panic(err)
	}
	return &kafka.Dialer{Timeout: 10 * time.Second, DualStack: true, TLS: config, SASLMechanism: mechanism}
}

var keep = map[string]*kafka.Client{}

// kept is the client that the request's name keeps with its connections, or one for the request alone.
func kept(q *line.Request) (*kafka.Client, func(), error) {
	if found, ok := keep[q.Keep]; ok {
		return found, func() {}, nil
	}
	c, done, err := client(q)
	if err == nil && q.Keep != "" {
		keep[q.Keep] = c
		done = func() {}
	}
	return c, done, err
}
