package main

import (
	"crypto/sha256"
	"crypto/sha512"

	"carrick/peer/line"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

var kinds = line.Kinds{
	Authentication: []error{sarama.ErrSASLAuthenticationFailed},
	Authorization: []error{
		sarama.ErrTopicAuthorizationFailed, sarama.ErrGroupAuthorizationFailed, sarama.ErrClusterAuthorizationFailed,
		sarama.ErrTransactionalIDAuthorizationFailed,
	},
}

func secure(c *sarama.Config, s *line.Security) {
	if s == nil {
		return
	}
	config, err := s.TLS()
	if err != nil {
		panic(err)
	}
	c.Net.TLS.Enable, c.Net.TLS.Config = config != nil, config
	if s.Mechanism == "" {
		return
	}
	c.Net.SASL.Enable = true
	c.Net.SASL.Mechanism = sarama.SASLMechanism(s.Mechanism)
	c.Net.SASL.User, c.Net.SASL.Password = s.User, s.Password
	switch s.Mechanism {
	case "SCRAM-SHA-256":
		c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{generate: sha256.New} }
	case "SCRAM-SHA-512":
		c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{generate: sha512.New} }
	case "OAUTHBEARER":
		c.Net.SASL.TokenProvider = token(s.Token)
	}
}

type token string

func (t token) Token() (*sarama.AccessToken, error) {
	return &sarama.AccessToken{Token: string(t)}, nil
}

// scramClient is what sarama leaves to its users: it has no SCRAM itself.
type scramClient struct {
	generate     scram.HashGeneratorFcn
	conversation *scram.ClientConversation
}

func (c *scramClient) Begin(user, password, authzID string) error {
	client, err := c.generate.NewClient(user, password, authzID)
	if err == nil {
		c.conversation = client.NewConversation()
	}
	return err
}

func (c *scramClient) Step(challenge string) (string, error) { return c.conversation.Step(challenge) }

func (c *scramClient) Done() bool { return c.conversation.Done() }
