// The franz-go client as a test peer.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carrick/peer/line"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/twmb/franz-go/pkg/kadm"
)

func main() {
	ops := map[string]line.Op{
		"version":      line.Version("github.com/twmb/franz-go"),
		"produce":      produce,
		"transaction":  transaction,
		"process":      process,
		"consume":      consume,
		"member_start": memberStart,
		"member_state": line.MemberState,
		"member_stop":  line.MemberStop,
		"swarm_start":  swarmOp,
		"swarm_state":  swarmOp,
		"swarm_leave":  swarmOp,
		"swarm_stop":   swarmOp,
	}
	for name, op := range adminOps {
		ops[name] = withAdmin(op)
	}
	line.Serve(ops, code, kinds)
}

func code(err error) string {
	var known *kerr.Error
	if errors.As(err, &known) {
		return known.Message
	}
	return fmt.Sprintf("%T", err)
}

func client(q *line.Request, more ...kgo.Opt) (*kgo.Client, error) {
	secure, err := security(q.Security)
	if err != nil {
		return nil, err
	}
	options := append([]kgo.Opt{kgo.SeedBrokers(q.Bootstrap)}, secure...)
	return kgo.NewClient(append(options, more...)...)
}

var codecs = map[string]kgo.CompressionCodec{
	"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(),
	"zstd": kgo.ZstdCompression(), "none": kgo.NoCompression(), "": kgo.SnappyCompression(),
}

// A producer of franz-go is idempotent unless it is told otherwise.
func producer(q *line.Request, more ...kgo.Opt) (*kgo.Client, error) {
	return client(q, append(more, kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codecs[q.Compression]), kgo.ProducerBatchMaxBytes(15<<20))...)
}

func produce(ctx context.Context, q *line.Request, a line.Answer) error {
	cl, kept := keep[q.Keep]
	if !kept {
		var err error
		if cl, err = producer(q); err != nil {
			return err
		}
	}
	if q.Keep == "" {
		defer cl.Close()
	} else {
		keep[q.Keep] = cl
	}
	if err := reached(ctx, cl, q); err != nil {
		return err
	}
	return send(ctx, cl, q, a)
}

var keep = map[string]*kgo.Client{}

func send(ctx context.Context, cl *kgo.Client, q *line.Request, a line.Answer) error {
	records, content := q.Records()
	results := make([]kgo.ProduceResult, len(records))
	err := q.Pace(records, func(i int, r *line.Record) error {
		record := &kgo.Record{Topic: q.Topic, Partition: q.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Time}
		for _, h := range r.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
		cl.Produce(ctx, record, func(r *kgo.Record, err error) { results[i] = kgo.ProduceResult{Record: r, Err: err} })
		return nil
	})
	if err == nil {
		err = cl.Flush(ctx)
	}
	if err == nil {
		err = kgo.ProduceResults(results).FirstErr()
	}
	if err != nil {
		return err
	}
	offsets := make([]int64, len(results))
	for i, result := range results {
		offsets[i] = result.Record.Offset
	}
	return a.Acked(offsets, content)
}

var open = map[string]*kgo.Client{}

func transaction(ctx context.Context, q *line.Request, a line.Answer) error {
	cl, ok := open[q.TransactionalID]
	delete(open, q.TransactionalID)
	if !ok {
		var err error
		if cl, err = producer(q, kgo.TransactionalID(q.TransactionalID)); err != nil {
			return err
		}
		if err = cl.BeginTransaction(); err != nil {
			return err
		}
	}
	if q.Outcome == "open" {
		open[q.TransactionalID] = cl
		return send(ctx, cl, q, a)
	}
	defer cl.Close()
	if err := send(ctx, cl, q, a); err != nil {
		return err
	}
	return cl.EndTransaction(ctx, kgo.TransactionEndTry(q.Outcome == "commit"))
}

func isolation(q *line.Request) kgo.Opt {
	if q.Isolation == "read_committed" {
		return kgo.FetchIsolationLevel(kgo.ReadCommitted())
	}
	return kgo.FetchIsolationLevel(kgo.ReadUncommitted())
}

// The end that a consumer of the request's isolation level can reach.
func end(ctx context.Context, cl *kgo.Client, q *line.Request) (int64, error) {
	admin := kadm.NewClient(cl)
	list := admin.ListEndOffsets
	if q.Isolation == "read_committed" {
		list = admin.ListCommittedOffsets
	}
	ends, err := list(ctx, q.Topic)
	if err != nil {
		return 0, err
	}
	at, _ := ends.Lookup(q.Topic, q.Partition)
	return at.Offset, at.Err
}

func consume(ctx context.Context, q *line.Request, a line.Answer) error {
	cl, err := client(q, isolation(q), kgo.ConsumePartitions(
		map[string]map[int32]kgo.Offset{q.Topic: {q.Partition: kgo.NewOffset().AtStart()}}), kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer cl.Close()
	end, err := end(ctx, cl, q)
	if err != nil {
		return err
	}
	seen := line.NewSeen()
	for next := int64(0); next < end; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if r.Attrs.IsControl() {
				return
			}
			record := line.Record{Key: r.Key, Value: r.Value, Time: r.Timestamp}
			for _, h := range r.Headers {
				record.Headers = append(record.Headers, line.Header{Name: h.Key, Value: h.Value})
			}
			seen.Add(r.Offset, &record)
		})
	}
	seen.Into(a)
	a["end_offset"] = end
	return nil
}

// process reads the topic's partition to its end as a member of the group, and writes it in one transaction.
func process(ctx context.Context, q *line.Request, a line.Answer) error {
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(q.Bootstrap), isolation(q), kgo.TransactionalID(q.TransactionalID),
		kgo.ConsumerGroup(q.Group), kgo.ConsumeTopics(q.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer session.Close()
	end, err := end(ctx, session.Client(), q)
	if err != nil {
		return err
	}
	count := 0
	if err := session.Begin(); err != nil {
		return err
	}
	for next := int64(0); next < end; {
		fetches := session.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				session.Produce(ctx, &kgo.Record{Topic: q.To, Key: r.Key, Value: r.Value}, func(_ *kgo.Record, failed error) {
					err = errors.Join(err, failed)
				})
				count++
			}
		})
	}
	if err := session.Client().Flush(ctx); err != nil {
		return err
	}
	commit := q.Outcome == "commit"
	committed, ended := session.End(ctx, kgo.TransactionEndTry(commit))
	if err = errors.Join(err, ended); err == nil && committed != commit {
		err = errors.New("the group rebalanced meanwhile")
	}
	a["count"] = count
	return err
}

func memberStart(ctx context.Context, q *line.Request, _ line.Answer) error {
	m := line.NewMember(q.Name)
	change := func(to bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) { m.Assign(to, changed[q.Topic]...) }
	}
	options := []kgo.Opt{
		kgo.ConsumerGroup(q.Group), kgo.ConsumeTopics(q.Topic), kgo.SessionTimeout(q.Session()),
		kgo.HeartbeatInterval(q.Session() / 10), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitInterval(200 * time.Millisecond), kgo.OnPartitionsAssigned(change(true)),
		kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)),
	}
	if q.Protocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	cl, err := client(q, options...)
	if err != nil {
		return err
	}
	if err := reached(ctx, cl, q); err != nil {
		cl.Close()
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			fetches := cl.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			m.Consumed(fetches.NumRecords())
			if err := fetches.Err(); err != nil {
				m.Failed(err)
			}
		}
	}()
	m.Stop = func() error {
		cl.Close()
		<-done
		return nil
	}
	return nil
}
