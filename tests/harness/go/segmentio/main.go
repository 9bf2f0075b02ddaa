// The kafka-go client (github.com/segmentio/kafka-go) as a test peer.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"carrick/peer/line"

	"github.com/segmentio/kafka-go"
)

func main() {
	ops := map[string]line.Op{
		"version":      line.Version("github.com/segmentio/kafka-go"),
		"produce":      produce,
		"consume":      consume,
		"member_start": memberStart,
		"member_state": line.MemberState,
		"member_stop":  line.MemberStop,
	}
	for name, op := range adminOps {
		ops[name] = func(ctx context.Context, q *line.Request, a line.Answer) error {
			c, done, err := client(q)
			if err != nil {
				return err
			}
			defer done()
			return op(ctx, c, q, a)
		}
	}
	line.Serve(ops, func(err error) string { return fmt.Sprintf("%T", err) }, kinds)
}

// client has a transport of its own: one that is shared remembers for seconds which topics there were.
func client(q *line.Request) (*kafka.Client, func(), error) {
	config, mechanism, err := security(q.Security)
	transport := &kafka.Transport{TLS: config, SASL: mechanism}
	return &kafka.Client{Addr: kafka.TCP(q.Bootstrap), Transport: transport}, transport.CloseIdleConnections, err
}

var codecs = map[string]kafka.Compression{
	"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

func produce(ctx context.Context, q *line.Request, a line.Answer) error {
	c, done, err := kept(q)
	if err != nil {
		return err
	}
	defer done()
	var mu sync.Mutex
	var offsets []int64
	w := &kafka.Writer{
		Addr: c.Addr, Transport: c.Transport, Topic: q.Topic, BatchTimeout: 5 * time.Millisecond, BatchSize: 200,
		Balancer:     kafka.BalancerFunc(func(kafka.Message, ...int) int { return int(q.Partition) }),
		RequiredAcks: kafka.RequireAll, Compression: codecs[q.Compression],
		Completion: func(messages []kafka.Message, err error) {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range messages {
				offsets = append(offsets, m.Offset)
			}
		},
	}
	records, content := q.Records()
	messages := make([]kafka.Message, len(records))
	for i, r := range records {
		messages[i] = kafka.Message{Key: r.Key, Value: r.Value, Time: r.Time}
		for _, h := range r.Headers {
			messages[i].Headers = append(messages[i].Headers, kafka.Header{Key: h.Name, Value: h.Value})
		}
	}
	if err := errors.Join(each(w.WriteMessages(ctx, messages...)), w.Close()); err != nil {
		return err
	}
	return a.Acked(offsets, content)
}

// each is the errors of the records, which the library's own type hides from errors.Is.
func each(err error) error {
	var all kafka.WriteErrors
	if errors.As(err, &all) {
		return errors.Join(all...)
	}
	return err
}

func reader(q *line.Request, partition int) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Dialer: dialer(q), Brokers: []string{q.Bootstrap}, Topic: q.Topic, Partition: partition, MaxBytes: 20 << 20, MaxWait: 200 * time.Millisecond,
	})
}

func consume(ctx context.Context, q *line.Request, a line.Answer) error {
	c, done, err := client(q)
	if err != nil {
		return err
	}
	defer done()
	found, err := c.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{q.Topic: {kafka.LastOffsetOf(int(q.Partition))}},
	})
	if err != nil {
		return err
	}
	end := found.Topics[q.Topic][0]
	if end.Error != nil {
		return end.Error
	}
	r := reader(q, int(q.Partition))
	defer r.Close()
	seen := line.NewSeen()
	for next := int64(0); next < end.LastOffset; {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			return err
		}
		next = m.Offset + 1
		record := line.Record{Key: m.Key, Value: m.Value, Time: m.Time}
		for _, h := range m.Headers {
			record.Headers = append(record.Headers, line.Header{Name: h.Key, Value: h.Value})
		}
		seen.Add(m.Offset, &record)
	}
	seen.Into(a)
	return nil
}

func memberStart(_ context.Context, q *line.Request, _ line.Answer) error {
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		Dialer: dialer(q), ID: q.Group, Brokers: []string{q.Bootstrap}, Topics: []string{q.Topic}, SessionTimeout: q.Session(),
		HeartbeatInterval: q.Session() / 10, RebalanceTimeout: q.Session(), StartOffset: kafka.FirstOffset,
	})
	if err != nil {
		return err
	}
	m := line.NewMember(q.Name)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			generation, err := group.Next(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				m.Failed(err)
				continue
			}
			var mine []int32
			for _, assigned := range generation.Assignments[q.Topic] {
				mine = append(mine, int32(assigned.ID))
				generation.Start(func(ctx context.Context) { follow(ctx, q, m, generation, assigned) })
			}
			m.Reset(mine...)
		}
	}()
	m.Stop = func() error {
		cancel()
		<-done
		return group.Close()
	}
	return nil
}

// follow consumes one partition for one generation, and commits when nothing came for a moment.
func follow(ctx context.Context, q *line.Request, m *line.Member, generation *kafka.Generation, from kafka.PartitionAssignment) {
	defer m.Assign(false, int32(from.ID))
	r := reader(q, from.ID)
	defer r.Close()
	if err := r.SetOffset(from.Offset); err != nil {
		m.Failed(err)
		return
	}
	next := int64(-1)
	for {
		wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		message, err := r.FetchMessage(wait)
		cancel()
		switch {
		case err == nil:
			m.Consumed(1)
			next = message.Offset + 1
		case ctx.Err() != nil:
			return
		case errors.Is(err, context.DeadlineExceeded):
			if next < 0 {
				continue
			}
			if err := generation.CommitOffsets(map[string]map[int]int64{q.Topic: {from.ID: next}}); err != nil {
				m.Failed(err)
			}
			next = -1
		default:
			m.Failed(err)
		}
	}
}
