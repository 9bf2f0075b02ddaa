package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"carrick/peer/line"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A swarm: many groups of consumers in this one process, and a producer that feeds the topics they read. Group g
// reads topic g modulo their number, so several groups share a topic.
type swarm struct {
	groups     [][]*consumer
	partitions int
	producer   *kgo.Client
	cancel     context.CancelFunc
	fed, unfed atomic.Int64
}

type consumer struct {
	client   *kgo.Client
	done     chan struct{}
	mu       sync.Mutex
	assigned map[int32]bool
	newestMs int64
	consumed int64
	changes  int
	lost     int
	failure  string
}

var theSwarm *swarm

func swarmOp(ctx context.Context, q *line.Request, a line.Answer) error {
	if q.Op == "swarm_start" {
		return swarmStart(ctx, q)
	}
	if theSwarm == nil {
		return errors.New("there is no swarm")
	}
	switch q.Op {
	case "swarm_state":
		theSwarm.state(q.SinceMs, a)
	case "swarm_leave":
		theSwarm.leave()
	case "swarm_stop":
		theSwarm.stop()
		theSwarm = nil
	}
	return nil
}

func swarmStart(ctx context.Context, q *line.Request) error {
	s := &swarm{partitions: int(q.Partitions), groups: make([][]*consumer, q.Groups)}
	var err error
	s.producer, err = client(q, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20*time.Millisecond))
	if err != nil {
		return err
	}
	if err := s.producer.Ping(ctx); err != nil {
		return err
	}
	feeding, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go s.feed(feeding, q.Topics, q.Rate)
	for g := range s.groups {
		for range q.Members {
			c, err := newConsumer(q, fmt.Sprintf("swarm-%d", g), q.Topics[g%len(q.Topics)])
			if err != nil {
				return err
			}
			s.groups[g] = append(s.groups[g], c)
		}
	}
	theSwarm = s
	return nil
}

// Writes `rate` records a second, to all partitions in turn, until the context ends.
func (s *swarm) feed(ctx context.Context, topics []string, rate int) {
	const ticksPerSecond = 20
	tick := time.NewTicker(time.Second / ticksPerSecond)
	defer tick.Stop()
	value := make([]byte, 100)
	next := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for range max(1, rate/ticksPerSecond) {
			record := &kgo.Record{Topic: topics[next%len(topics)], Partition: int32(next / len(topics) % s.partitions), Value: value}
			next++
			s.producer.TryProduce(ctx, record, func(_ *kgo.Record, err error) {
				if err == nil {
					s.fed.Add(1)
				} else {
					s.unfed.Add(1)
				}
			})
		}
	}
}

func newConsumer(q *line.Request, group, topic string) (*consumer, error) {
	c := &consumer{assigned: map[int32]bool{}, done: make(chan struct{})}
	change := func(to, lost bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.changes++
			if lost {
				c.lost++
			}
			for _, p := range changed[topic] {
				if to {
					c.assigned[p] = true
				} else {
					delete(c.assigned, p)
				}
			}
		}
	}
	balancers := map[string]kgo.GroupBalancer{
		"": kgo.CooperativeStickyBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer(),
		"range": kgo.RangeBalancer(), "server": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(),
	}
	options := []kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.Balancers(balancers[q.Balancer]),
		kgo.FetchMaxWait(time.Second), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
		kgo.OnPartitionsAssigned(change(true, false)), kgo.OnPartitionsRevoked(change(false, false)),
		kgo.OnPartitionsLost(change(false, true))}
	if q.Balancer == "server" {
		options = append(options, kgo.ServerSideBalancer())
	}
	if q.SessionMs > 0 {
		session := time.Duration(q.SessionMs) * time.Millisecond
		options = append(options, kgo.SessionTimeout(session), kgo.HeartbeatInterval(session/15))
	}
	var err error
	if c.client, err = client(q, options...); err != nil {
		return nil, err
	}
	go c.consume()
	return c, nil
}

func (c *consumer) consume() {
	defer close(c.done)
	for {
		fetches := c.client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		c.mu.Lock()
		c.consumed += int64(fetches.NumRecords())
		fetches.EachRecord(func(r *kgo.Record) { c.newestMs = max(c.newestMs, r.Timestamp.UnixMilli()) })
		if err := fetches.Err(); err != nil {
			c.failure = err.Error()
		}
		c.mu.Unlock()
	}
}

// `stable` counts groups whose members have all partitions among them, each exactly once, and each member some;
// `current` counts members that have read a record written at `sinceMs` or later.
func (s *swarm) state(sinceMs int64, a line.Answer) {
	stable, current, alive, changes, lost, consumed := 0, 0, 0, 0, 0, int64(0)
	failures := map[string]int{}
	for _, group := range s.groups {
		seen, whole := map[int32]bool{}, true
		for _, c := range group {
			c.mu.Lock()
			alive++
			changes += c.changes
			lost += c.lost
			consumed += c.consumed
			if c.newestMs >= sinceMs {
				current++
			}
			if c.failure != "" {
				failures[c.failure]++
				c.failure = ""
			}
			whole = whole && len(c.assigned) > 0
			for p := range c.assigned {
				whole = whole && !seen[p]
				seen[p] = true
			}
			c.mu.Unlock()
		}
		if whole && len(seen) == s.partitions {
			stable++
		}
	}
	a["stable"], a["current"], a["alive"], a["changes"], a["lost"] = stable, current, alive, changes, lost
	a["consumed"], a["failures"], a["fed"], a["unfed"] = consumed, failures, s.fed.Load(), s.unfed.Load()
}

// The first member of each group leaves it, all at once.
func (s *swarm) leave() {
	var leaving []*consumer
	for g, group := range s.groups {
		leaving = append(leaving, group[0])
		s.groups[g] = group[1:]
	}
	closeAll(leaving)
}

func (s *swarm) stop() {
	s.cancel()
	for _, group := range s.groups {
		closeAll(group)
	}
	s.producer.Close()
}

func closeAll(consumers []*consumer) {
	var gone sync.WaitGroup
	for _, c := range consumers {
		gone.Go(func() {
			c.client.Close()
			<-c.done
		})
	}
	gone.Wait()
}
