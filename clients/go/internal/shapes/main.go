// Command shapes says which texts are values of some types, for tests/clients/test_go.py, which holds that to the schemas
// of the types. Its first line is the schemas by their names; then each line `{"type": ..., "text": ...}` is answered by
// true or false.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"math/big"
	"os"
	"time"

	"jobqueue.dev/go/jobqueue"
)

type tree struct {
	Name     string  `json:"name"`
	Parent   *tree   `json:"parent,omitempty"`
	Children []*tree `json:"children"`
}

type base struct {
	Shared string
	Hidden int `json:"hidden"`
}

type scalars struct {
	base
	Hidden  string            `json:"hidden"`
	Small   int8              `json:"small"`
	Large   int64             `json:"large"`
	Natural uint64            `json:"natural,omitempty"`
	Any     any               `json:"any,omitempty"`
	Float   float64           `json:"float,omitzero"`
	Big     *big.Int          `json:"big,omitempty"`
	At      *time.Time        `json:"at,omitempty"`
	Bytes   []byte            `json:"bytes,omitempty"`
	Pair    [2]bool           `json:"pair"`
	Labels  map[string]string `json:"labels,omitempty"`
	Exact   json.Number       `json:"exact,omitempty"`
}

type kind interface {
	Schema() json.RawMessage
	PayloadOf(job *jobqueue.Job) error
}

// of is a kind whose payloads are of no use.
type of[P any] struct {
	*jobqueue.JobKind[P, jobqueue.None]
}

func (o of[P]) PayloadOf(job *jobqueue.Job) error {
	_, err := o.JobKind.PayloadOf(job)
	return err
}

func define[P any](settings ...jobqueue.KindSetting) kind {
	return of[P]{jobqueue.DefineKind[P, jobqueue.None]("k", settings...)}
}

func main() {
	kinds := map[string]kind{
		"tree":    define[tree](),
		"strict":  define[tree](jobqueue.Strict()),
		"scalars": define[scalars](),
		"list":    define[[]map[string]uint8](),
	}
	schemas := map[string]json.RawMessage{}
	for name, each := range kinds {
		schemas[name] = each.Schema()
	}
	say := json.NewEncoder(os.Stdout)
	check(say.Encode(schemas))
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var asked struct{ Type, Text string }
		check(json.Unmarshal(lines.Bytes(), &asked))
		err := kinds[asked.Type].PayloadOf(&jobqueue.Job{Kind: "k", Payload: json.RawMessage(asked.Text)})
		check(say.Encode(err == nil))
	}
	check(lines.Err())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
