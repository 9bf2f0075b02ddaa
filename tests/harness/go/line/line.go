// Package line is what the peers of this folder share: one JSON request a line on standard input, one JSON answer a
// line on standard output, and the records that they make and digest. `harness::peer` describes the operations.
package line

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"math/rand"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Limit is how long one operation may take.
const Limit = 60 * time.Second

// Request is one line of standard input.
type Request struct {
	Op              string            `json:"op"`
	Bootstrap       string            `json:"bootstrap"`
	Topic           string            `json:"topic"`
	To              string            `json:"to"`
	Partition       int32             `json:"partition"`
	Count           int               `json:"count"`
	Seed            int64             `json:"seed"`
	MinBytes        int               `json:"min_bytes"`
	MaxBytes        int               `json:"max_bytes"`
	Keys            int               `json:"keys"`
	Tombstones      bool              `json:"tombstones"`
	Idempotent      bool              `json:"idempotent"`
	SpreadMs        int               `json:"spread_ms"`
	TimestampMs     int64             `json:"timestamp_ms"`
	Compression     string            `json:"compression"`
	Before          int64             `json:"before"`
	Total           int               `json:"total"`
	Partitions      int32             `json:"partitions"`
	Configs         map[string]string `json:"configs"`
	Group           string            `json:"group"`
	Name            string            `json:"name"`
	Protocol        string            `json:"protocol"`
	TransactionalID string            `json:"transactional_id"`
	Outcome         string            `json:"outcome"`
	Isolation       string            `json:"isolation"`
	SessionMs       int               `json:"session_ms"`
	Offset          int64             `json:"offset"`
	Metadata        string            `json:"metadata"`
	// A name: the producer is kept under it, and used again.
	Keep     string    `json:"keep"`
	Security *Security `json:"security"`
	// Of a swarm.
	Topics   []string `json:"topics"`
	Groups   int      `json:"groups"`
	Members  int      `json:"members"`
	Rate     int      `json:"rate"`
	Balancer string   `json:"balancer"`
	SinceMs  int64    `json:"since_ms"`
}

// Answer is one line of standard output.
type Answer map[string]any

// Op does what one request asks, and puts what it found into the answer.
type Op func(ctx context.Context, q *Request, a Answer) error

var kinds Kinds

// Serve answers requests until standard input ends. Code gives an error's name in Kafka's own words.
func Serve(ops map[string]Op, code func(error) string, refusals Kinds) {
	kinds = refusals
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<20)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var q Request
		a := Answer{}
		err := json.Unmarshal(in.Bytes(), &q)
		if err == nil {
			err = one(ops, &q, a)
		}
		a["ok"] = err == nil
		if err != nil {
			a["message"] = err.Error()
			a["code"] = code(err)
			a["kind"] = kinds.Of(err)
		}
		if out.Encode(a) != nil {
			return
		}
	}
}

func one(ops map[string]Op, q *Request, a Answer) error {
	op, known := ops[q.Op]
	if !known {
		return fmt.Errorf("unknown op %q", q.Op)
	}
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	return op(ctx, q, a)
}

// Version is an operation that answers with the version of a module that this program was built with.
func Version(module string) Op {
	return func(_ context.Context, _ *Request, a Answer) error {
		info, ok := debug.ReadBuildInfo()
		if !ok {
			return errors.New("built without module information")
		}
		for _, m := range info.Deps {
			if m.Path == module {
				a["version"] = m.Version
			}
		}
		return nil
	}
}

// Session is the session timeout of a group member.
func (q *Request) Session() time.Duration {
	if q.SessionMs > 0 {
		return time.Duration(q.SessionMs) * time.Millisecond
	}
	return 10 * time.Second
}

// Header is a record's header.
type Header struct {
	Name  string
	Value []byte
}

// Record is what is produced. Time is zero where the client library may choose it.
type Record struct {
	Key, Value []byte
	Headers    []Header
	Time       time.Time
}

// Records are those that a produce request asks for, with the digest of their content.
func (q *Request) Records() ([]Record, string) {
	random := rand.New(rand.NewSource(q.Seed))
	content := NewContent()
	records := make([]Record, q.Count)
	least, most := q.MinBytes, max(q.MaxBytes, q.MinBytes)
	if q.MaxBytes == 0 {
		least, most = 10, 200
	}
	for i := range records {
		r := &records[i]
		r.Value = make([]byte, least+random.Intn(most-least+1))
		if i%2 == 0 {
			random.Read(r.Value)
		} else {
			text := fmt.Sprintf(`{"order":%d,"state":"paid"}`, i)
			for at := range r.Value {
				r.Value[at] = text[at%len(text)]
			}
		}
		if q.Keys > 0 && !(q.Tombstones && i%2 == 0) {
			r.Key = fmt.Appendf(nil, "key-%d", random.Intn(q.Keys))
		}
		if q.Tombstones && i%10 == 9 {
			r.Value = nil
		}
		if i%3 == 0 {
			r.Headers = []Header{{"n", fmt.Append(nil, i)}}
		}
		if q.TimestampMs > 0 {
			r.Time = time.UnixMilli(q.TimestampMs + int64(i))
			content.Add(r)
		}
	}
	return records, content.Sum()
}

// Pace calls send for each record, spread over the time that the request asks for.
func (q *Request) Pace(records []Record, send func(i int, r *Record) error) error {
	started := time.Now()
	for i := range records {
		if err := send(i, &records[i]); err != nil {
			return err
		}
		due := time.Duration(q.SpreadMs) * time.Millisecond * time.Duration(i) / time.Duration(len(records))
		time.Sleep(due - time.Since(started))
	}
	return nil
}

// Content digests records as every peer does.
type Content struct{ hash hash.Hash }

// NewContent has seen no record.
func NewContent() *Content { return &Content{sha256.New()} }

// Add digests one more record.
func (c *Content) Add(r *Record) {
	_ = binary.Write(c.hash, binary.BigEndian, r.Time.UnixMilli())
	c.part(r.Key)
	c.part(r.Value)
	_ = binary.Write(c.hash, binary.BigEndian, int32(len(r.Headers)))
	for _, h := range r.Headers {
		c.part([]byte(h.Name))
		c.part(h.Value)
	}
}

func (c *Content) part(bytes []byte) {
	length := int32(len(bytes))
	if bytes == nil {
		length = -1
	}
	_ = binary.Write(c.hash, binary.BigEndian, length)
	c.hash.Write(bytes)
}

// Sum is the digest so far.
func (c *Content) Sum() string { return hex.EncodeToString(c.hash.Sum(nil)) }

// Acked puts into the answer what was acknowledged.
func (a Answer) Acked(offsets []int64, content string) error {
	if len(offsets) == 0 {
		return errors.New("nothing was acknowledged")
	}
	a["acked"], a["content"] = len(offsets), content
	a["first_offset"], a["last_offset"] = slices.Min(offsets), slices.Max(offsets)
	return nil
}

// Seen is what a consumer has read.
type Seen struct {
	count       int
	first, last int64
	content     *Content
}

// NewSeen has read nothing.
func NewSeen() *Seen { return &Seen{first: -1, last: -1, content: NewContent()} }

// Add takes one more record.
func (s *Seen) Add(offset int64, r *Record) {
	if s.first < 0 {
		s.first = offset
	}
	s.last = offset
	s.count++
	s.content.Add(r)
}

// Into puts it into the answer.
func (s *Seen) Into(a Answer) {
	a["count"], a["first_offset"], a["last_offset"], a["content"] = s.count, s.first, s.last, s.content.Sum()
}

// Member is what a group member tells of itself. Its methods may be called from any goroutine.
type Member struct {
	mu       sync.Mutex
	assigned map[int32]bool
	consumed int
	failure  error
	// Stop leaves the group and returns when that is done.
	Stop func() error
}

var members = map[string]*Member{}

// NewMember is a member under a name, for the two operations that Members gives.
func NewMember(name string) *Member {
	m := &Member{assigned: map[int32]bool{}}
	members[name] = m
	return m
}

// Assign notes that partitions came or went.
func (m *Member) Assign(is bool, partitions ...int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range partitions {
		if is {
			m.assigned[p] = true
		} else {
			delete(m.assigned, p)
		}
	}
}

// Reset notes that the member has these partitions and no others.
func (m *Member) Reset(partitions ...int32) {
	m.mu.Lock()
	clear(m.assigned)
	m.mu.Unlock()
	m.Assign(true, partitions...)
}

// Consumed counts records.
func (m *Member) Consumed(count int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.consumed += count
}

// Failed notes an error that the library gave the member.
func (m *Member) Failed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failure = err
}

// MemberState is the operation member_state.
func MemberState(_ context.Context, q *Request, a Answer) error {
	m, ok := members[q.Name]
	if !ok {
		return fmt.Errorf("no member %q", q.Name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	assigned := []int32{}
	for p := range m.assigned {
		assigned = append(assigned, p)
	}
	slices.Sort(assigned)
	a["assigned"], a["consumed"], a["failure"] = assigned, m.consumed, nil
	if m.failure != nil {
		a["failure"], a["failure_kind"] = m.failure.Error(), kinds.Of(m.failure)
	}
	return nil
}

// MemberStop is the operation member_stop.
func MemberStop(_ context.Context, q *Request, _ Answer) error {
	m, ok := members[q.Name]
	if !ok {
		return fmt.Errorf("no member %q", q.Name)
	}
	delete(members, q.Name)
	return m.Stop()
}
