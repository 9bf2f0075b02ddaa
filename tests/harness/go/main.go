// The franz-go client as a test peer: one JSON request a line on standard input, one JSON answer a line on
// standard output. The operations are those of `harness::peer`; the Java and Rust peers speak the same lines.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

type request struct {
	Op              string            `json:"op"`
	Bootstrap       string            `json:"bootstrap"`
	Topic           string            `json:"topic"`
	Partition       int32             `json:"partition"`
	Count           int               `json:"count"`
	Seed            int64             `json:"seed"`
	MinBytes        int               `json:"min_bytes"`
	MaxBytes        int               `json:"max_bytes"`
	Compression     string            `json:"compression"`
	Before          int64             `json:"before"`
	Total           int               `json:"total"`
	Partitions      int32             `json:"partitions"`
	Configs         map[string]string `json:"configs"`
	Group           string            `json:"group"`
	Name            string            `json:"name"`
	TransactionalID string            `json:"transactional_id"`
	Isolation       string            `json:"isolation"`
	SessionMs       int               `json:"session_ms"`
	swarmRequest
}

type answer map[string]any

type member struct {
	client   *kgo.Client
	mu       sync.Mutex
	assigned map[int32]bool
	consumed int64
	failure  string
	done     chan struct{}
}

var members = map[string]*member{}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<20)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var q request
		a := answer{}
		err := json.Unmarshal(in.Bytes(), &q)
		if err == nil {
			err = dispatch(&q, a)
		}
		a["ok"] = err == nil
		if err != nil {
			a["message"] = err.Error()
			a["code"] = code(err)
		}
		if out.Encode(a) != nil {
			return
		}
	}
}

func code(err error) string {
	var known *kerr.Error
	if errors.As(err, &known) {
		return known.Message
	}
	return fmt.Sprintf("%T", err)
}

func dispatch(q *request, a answer) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	switch q.Op {
	case "produce":
		return produce(ctx, q, a)
	case "consume":
		return consume(ctx, q, a)
	case "create_topic", "create_partitions", "delete_records":
		return administer(ctx, q)
	case "committed":
		return committed(ctx, q, a)
	case "swarm_start", "swarm_state", "swarm_leave", "swarm_stop":
		return swarmOp(ctx, q, a)
	case "member_start":
		return memberStart(q)
	case "member_state":
		return memberState(q, a)
	case "member_stop":
		m := members[q.Name]
		delete(members, q.Name)
		m.client.Close()
		<-m.done
		return nil
	}
	return fmt.Errorf("unknown op %q", q.Op)
}

func client(q *request, more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(q.Bootstrap)}, more...)...)
}

var codecs = map[string]kgo.CompressionCodec{
	"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(),
	"zstd": kgo.ZstdCompression(), "none": kgo.NoCompression(), "": kgo.SnappyCompression(),
}

func produce(ctx context.Context, q *request, a answer) error {
	cl, err := client(q, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codecs[q.Compression]),
		kgo.ProducerBatchMaxBytes(15<<20))
	if err != nil {
		return err
	}
	defer cl.Close()
	random := rand.New(rand.NewSource(q.Seed))
	records := make([]*kgo.Record, q.Count)
	for i := range records {
		value := make([]byte, q.MinBytes+random.Intn(max(1, q.MaxBytes-q.MinBytes+1)))
		random.Read(value)
		records[i] = &kgo.Record{Topic: q.Topic, Partition: q.Partition, Value: value}
	}
	results := cl.ProduceSync(ctx, records...)
	if err := results.FirstErr(); err != nil {
		return err
	}
	a["acked"] = len(results)
	a["first_offset"] = results[0].Record.Offset
	a["last_offset"] = results[len(results)-1].Record.Offset
	return nil
}

func consume(ctx context.Context, q *request, a answer) error {
	isolation := kgo.ReadUncommitted()
	if q.Isolation == "read_committed" {
		isolation = kgo.ReadCommitted()
	}
	cl, err := client(q, kgo.FetchIsolationLevel(isolation), kgo.ConsumePartitions(
		map[string]map[int32]kgo.Offset{q.Topic: {q.Partition: kgo.NewOffset().AtStart()}}), kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, q.Topic)
	if err != nil {
		return err
	}
	end, _ := ends.Lookup(q.Topic, q.Partition)
	count, first, next := 0, int64(-1), int64(0)
	for next < end.Offset {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if r.Attrs.IsControl() {
				return
			}
			if first < 0 {
				first = r.Offset
			}
			count++
		})
	}
	a["count"], a["first_offset"], a["end_offset"] = count, first, end.Offset
	return nil
}

func administer(ctx context.Context, q *request) error {
	cl, err := client(q)
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	switch q.Op {
	case "create_topic":
		configs := map[string]*string{}
		for name, value := range q.Configs {
			configs[name] = &value
		}
		_, err = admin.CreateTopic(ctx, max(1, q.Partitions), 1, configs, q.Topic)
	case "create_partitions":
		var answers kadm.CreatePartitionsResponses
		if answers, err = admin.UpdatePartitions(ctx, q.Total, q.Topic); err == nil {
			err = answers.Error()
		}
	case "delete_records":
		offsets := kadm.Offsets{}
		offsets.AddOffset(q.Topic, q.Partition, q.Before, -1)
		var answers kadm.DeleteRecordsResponses
		if answers, err = admin.DeleteRecords(ctx, offsets); err == nil {
			err = answers.Error()
		}
	}
	return err
}

func committed(ctx context.Context, q *request, a answer) error {
	cl, err := client(q)
	if err != nil {
		return err
	}
	defer cl.Close()
	offsets, err := kadm.NewClient(cl).FetchOffsets(ctx, q.Group)
	if err != nil {
		return err
	}
	a["offset"] = int64(-1)
	if o, ok := offsets.Lookup(q.Topic, q.Partition); ok {
		a["offset"] = o.At
	}
	return nil
}

func memberStart(q *request) error {
	m := &member{assigned: map[int32]bool{}, done: make(chan struct{})}
	session := 10 * time.Second
	if q.SessionMs > 0 {
		session = time.Duration(q.SessionMs) * time.Millisecond
	}
	change := func(to bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, p := range changed[q.Topic] {
				if to {
					m.assigned[p] = true
				} else {
					delete(m.assigned, p)
				}
			}
		}
	}
	var err error
	m.client, err = client(q, kgo.ConsumerGroup(q.Group), kgo.ConsumeTopics(q.Topic), kgo.SessionTimeout(session),
		kgo.HeartbeatInterval(session/5), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitInterval(200*time.Millisecond),
		kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)))
	if err != nil {
		return err
	}
	members[q.Name] = m
	go func() {
		defer close(m.done)
		for {
			fetches := m.client.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			m.mu.Lock()
			m.consumed += int64(fetches.NumRecords())
			if err := fetches.Err(); err != nil {
				m.failure = err.Error()
			}
			m.mu.Unlock()
		}
	}()
	return nil
}

func memberState(q *request, a answer) error {
	m, ok := members[q.Name]
	if !ok {
		return fmt.Errorf("no member %q", q.Name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	assigned := []int{}
	for p := range m.assigned {
		assigned = append(assigned, int(p))
	}
	sort.Ints(assigned)
	a["assigned"], a["consumed"], a["failure"] = assigned, m.consumed, nil
	if m.failure != "" {
		a["failure"] = m.failure
	}
	return nil
}
