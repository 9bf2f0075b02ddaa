package main

import (
	"context"
	"errors"

	"carrick/peer/line"

	"github.com/IBM/sarama"
)

// handler notes what a member has, and counts what it consumes.
type handler struct {
	member *line.Member
	topic  string
}

func (h handler) Setup(s sarama.ConsumerGroupSession) error {
	h.member.Reset(s.Claims()[h.topic]...)
	return nil
}

func (h handler) Cleanup(sarama.ConsumerGroupSession) error {
	h.member.Reset()
	return nil
}

func (h handler) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for m := range claim.Messages() {
		h.member.Consumed(1)
		s.MarkMessage(m, "")
	}
	return nil
}

func memberStart(_ context.Context, q *line.Request, _ line.Answer) error {
	settings := config(q)
	settings.Consumer.Return.Errors = true
	group, err := sarama.NewConsumerGroup([]string{q.Bootstrap}, q.Group, settings)
	if err != nil {
		return err
	}
	m := line.NewMember(q.Name)
	go func() {
		for err := range group.Errors() {
			m.Failed(err)
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{q.Topic}, handler{m, q.Topic}); err != nil {
				m.Failed(err)
			}
		}
	}()
	m.Stop = func() error {
		cancel()
		<-done
		return group.Close()
	}
	return nil
}

// processor writes what one claim brings in one transaction, and ends the session at the end of its partition.
type processor struct {
	request  *line.Request
	producer sarama.SyncProducer
	end      int64
	cancel   context.CancelFunc
	count    int
	result   error
}

func (p *processor) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (p *processor) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (p *processor) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	defer p.cancel()
	q := p.request
	if p.result = p.producer.BeginTxn(); p.result != nil {
		return p.result
	}
	member := &sarama.ConsumerGroupMetadata{GroupID: q.Group, GenerationID: s.GenerationID(), MemberID: s.MemberID()}
	var last *sarama.ConsumerMessage
	for last == nil || last.Offset < p.end-1 {
		m, ok := <-claim.Messages()
		if !ok {
			p.result = errors.New("the claim ended")
			return p.result
		}
		last = m
		out := &sarama.ProducerMessage{Topic: q.To, Partition: 0, Key: sarama.ByteEncoder(m.Key), Value: sarama.ByteEncoder(m.Value)}
		if _, _, p.result = p.producer.SendMessage(out); p.result != nil {
			return p.result
		}
		p.count++
	}
	p.result = p.producer.AddMessageToTxnWithGroupMetadata(last, member, nil)
	if p.result == nil && q.Outcome == "commit" {
		p.result = p.producer.CommitTxn()
	} else if p.result == nil {
		p.result = p.producer.AbortTxn()
	}
	return p.result
}

func process(ctx context.Context, q *line.Request, a line.Answer) error {
	end, err := lastVisible(ctx, q)
	if err != nil {
		return err
	}
	settings := config(q)
	settings.Consumer.Offsets.AutoCommit.Enable = false
	p, err := sarama.NewSyncProducer([]string{q.Bootstrap}, settings)
	if err != nil {
		return err
	}
	defer p.Close()
	// The id is the producer's: a consumer with it would not be let in.
	reading := *q
	reading.TransactionalID = ""
	settings = config(&reading)
	settings.Consumer.Offsets.AutoCommit.Enable = false
	group, err := sarama.NewConsumerGroup([]string{q.Bootstrap}, q.Group, settings)
	if err != nil {
		return err
	}
	defer group.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work := &processor{request: q, producer: p, end: end + 1, cancel: cancel, result: errors.New("no partition was claimed")}
	if err := group.Consume(ctx, []string{q.Topic}, work); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	a["count"] = work.count
	return work.result
}

// lastVisible is the offset of the last record that the request's isolation level shows.
func lastVisible(ctx context.Context, q *line.Request) (int64, error) {
	seen := line.Answer{}
	reading := *q
	reading.TransactionalID = ""
	if err := consume(ctx, &reading, seen); err != nil {
		return 0, err
	}
	return seen["last_offset"].(int64), nil
}
