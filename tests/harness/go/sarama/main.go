// The sarama client as a test peer.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"carrick/peer/line"

	"github.com/IBM/sarama"
)

func main() {
	ops := map[string]line.Op{
		"version":      line.Version("github.com/IBM/sarama"),
		"produce":      produce,
		"transaction":  transaction,
		"process":      process,
		"consume":      consume,
		"commit":       commit,
		"committed":    committed,
		"member_start": memberStart,
		"member_state": line.MemberState,
		"member_stop":  line.MemberStop,
	}
	for name, op := range adminOps {
		ops[name] = withAdmin(op)
	}
	line.Serve(ops, func(err error) string { return fmt.Sprintf("%T", err) }, kinds)
}

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func config(q *line.Request) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V4_3_0_0
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
	c.Consumer.Group.Session.Timeout = q.Session()
	c.Consumer.Group.Heartbeat.Interval = q.Session() / 10
	if q.Isolation == "read_committed" {
		c.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.Compression = codecs[q.Compression]
	// Its default gives up after 300 ms; a producer that must not lose anything is told to go on.
	c.Producer.Retry.Max = 50
	if q.Idempotent || q.TransactionalID != "" {
		c.Producer.Idempotent = true
		c.Net.MaxOpenRequests = 1
		c.Producer.Transaction.ID = q.TransactionalID
	}
	secure(c, q.Security)
	return c
}

func message(q *line.Request, r *line.Record) *sarama.ProducerMessage {
	m := &sarama.ProducerMessage{Topic: q.Topic, Partition: q.Partition, Timestamp: r.Time}
	if r.Key != nil {
		m.Key = sarama.ByteEncoder(r.Key)
	}
	if r.Value != nil {
		m.Value = sarama.ByteEncoder(r.Value)
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Name), Value: h.Value})
	}
	return m
}

func produce(_ context.Context, q *line.Request, a line.Answer) error {
	p, kept := keep[q.Keep]
	if !kept {
		var err error
		if p, err = sarama.NewAsyncProducer([]string{q.Bootstrap}, config(q)); err != nil {
			return err
		}
	}
	if q.Keep == "" {
		defer p.Close()
	} else {
		keep[q.Keep] = p
	}
	records, content := q.Records()
	var offsets []int64
	var failed error
	var wait sync.WaitGroup
	wait.Go(func() {
		for range records {
			select {
			case m := <-p.Successes():
				offsets = append(offsets, m.Offset)
			case e := <-p.Errors():
				failed = e
			}
		}
	})
	err := q.Pace(records, func(_ int, r *line.Record) error {
		p.Input() <- message(q, r)
		return nil
	})
	// Closing it first would give up what it is trying again.
	wait.Wait()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return a.Acked(offsets, content)
}

var (
	keep = map[string]sarama.AsyncProducer{}
	open = map[string]sarama.SyncProducer{}
)

func transaction(_ context.Context, q *line.Request, a line.Answer) error {
	p, ok := open[q.TransactionalID]
	delete(open, q.TransactionalID)
	if !ok {
		var err error
		if p, err = sarama.NewSyncProducer([]string{q.Bootstrap}, config(q)); err != nil {
			return err
		}
		if err = p.BeginTxn(); err != nil {
			return err
		}
	}
	records, content := q.Records()
	messages := make([]*sarama.ProducerMessage, len(records))
	for i := range records {
		messages[i] = message(q, &records[i])
	}
	err := p.SendMessages(messages)
	if q.Outcome == "open" {
		open[q.TransactionalID] = p
	} else {
		defer p.Close()
	}
	if err == nil && q.Outcome == "commit" {
		err = p.CommitTxn()
	} else if err == nil && q.Outcome == "abort" {
		err = p.AbortTxn()
	}
	if err != nil {
		return err
	}
	offsets := make([]int64, len(messages))
	for i, m := range messages {
		offsets[i] = m.Offset
	}
	return a.Acked(offsets, content)
}

// quiet is how long read_committed must bring nothing to be at its end: the position behind the last record that it
// brought is not told, and control records or aborted ones may lie there.
const quiet = 2 * time.Second

func consume(ctx context.Context, q *line.Request, a line.Answer) error {
	c, err := sarama.NewConsumer([]string{q.Bootstrap}, config(q))
	if err != nil {
		return err
	}
	defer c.Close()
	p, err := c.ConsumePartition(q.Topic, q.Partition, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	defer p.Close()
	end, err := endOffset(q)
	if err != nil {
		return err
	}
	seen := line.NewSeen()
	for next := int64(0); next < end; {
		select {
		case m := <-p.Messages():
			next = m.Offset + 1
			seen.Add(m.Offset, record(m))
		case <-time.After(quiet):
			next = end
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	seen.Into(a)
	return nil
}

func record(m *sarama.ConsumerMessage) *line.Record {
	r := &line.Record{Key: m.Key, Value: m.Value, Time: m.Timestamp}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, line.Header{Name: string(h.Key), Value: h.Value})
	}
	return r
}

func endOffset(q *line.Request) (int64, error) {
	admin, err := sarama.NewClusterAdmin([]string{q.Bootstrap}, config(q))
	if err != nil {
		return 0, err
	}
	defer admin.Close()
	wanted := map[string]map[int32]int64{q.Topic: {q.Partition: sarama.OffsetNewest}}
	found, err := admin.ListOffsets(wanted, &sarama.ListOffsetsOptions{IsolationLevel: config(q).Consumer.IsolationLevel})
	if err != nil {
		return 0, err
	}
	at := found[q.Topic][q.Partition]
	if at.Err != nil && !errors.Is(at.Err, sarama.ErrNoError) {
		return 0, at.Err
	}
	return at.Offset, nil
}

func withOffsets(q *line.Request, do func(sarama.OffsetManager, sarama.PartitionOffsetManager)) error {
	client, err := sarama.NewClient([]string{q.Bootstrap}, config(q))
	if err != nil {
		return err
	}
	defer client.Close()
	offsets, err := sarama.NewOffsetManagerFromClient(q.Group, client)
	if err != nil {
		return err
	}
	defer offsets.Close()
	partition, err := offsets.ManagePartition(q.Topic, q.Partition)
	if err != nil {
		return err
	}
	do(offsets, partition)
	return partition.Close()
}

func commit(_ context.Context, q *line.Request, _ line.Answer) error {
	return withOffsets(q, func(all sarama.OffsetManager, partition sarama.PartitionOffsetManager) {
		partition.MarkOffset(q.Offset, q.Metadata)
		all.Commit()
	})
}

func committed(_ context.Context, q *line.Request, a line.Answer) error {
	return withOffsets(q, func(_ sarama.OffsetManager, partition sarama.PartitionOffsetManager) {
		a["offset"], a["metadata"] = partition.NextOffset()
	})
}
