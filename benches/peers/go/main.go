// A peer of nsq_bench: the same work with go-nsq, the official client.
//
// So many goroutines call Producer.Publish in turn, each as soon as its last call has returned; all share one Producer,
// which is one connection. Publish and PublishAsync go through the same router, which writes and flushes each command by
// itself, so that PublishAsync is no faster. The configuration is go-nsq's default, but for the options that are named. The
// bodies are slices that messages share, one of the size asked for or the lines of a file: go-nsq copies them only where it
// writes.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nsqio/go-nsq"
)

var (
	address     = flag.String("nsqd-tcp-address", "127.0.0.1:4150", "nsqd's TCP address")
	topic       = flag.String("topic", "", "topic to publish to")
	size        = flag.Int("size", 200, "bytes of each message")
	concurrency = flag.Int("concurrency", 64, "callers, each of which awaits its answer")
	messages    = flag.Int("messages", 1000000, "messages of the timed part")
	warmup      = flag.Int("warmup", -1, "messages before the timed part (default a tenth of -messages)")
	topics      = flag.Int("topics", 1, "topics, over which the callers are spread")
	mpub        = flag.Int("mpub", 0, "publish so many messages with each command")
	bodiesFile  = flag.String("bodies", "", "file whose lines are the messages, in turn, instead of -size bytes")
	asJSON      = flag.Bool("json", false, "print one line of JSON after the sentence")
	config      = nsq.NewConfig()
)

func init() {
	flag.Func("producer-opt", "option of go-nsq, name=value (may be given multiple times)", func(text string) error {
		pair := strings.SplitN(text, "=", 2)
		if len(pair) != 2 || pair[0] == "" {
			return errors.New("must be name=value")
		}
		return config.Set(pair[0], pair[1])
	})
}

// What nsq_bench prints, too.
type report struct {
	Rate             float64 `json:"rate"`
	CPUPerMessage    float64 `json:"cpu_us_per_message"`
	P50              float64 `json:"p50_us"`
	P99              float64 `json:"p99_us"`
	P999             float64 `json:"p999_us"`
	Max              float64 `json:"max_us"`
	AllocsPerMessage float64 `json:"allocs_per_message"`
	Messages         int     `json:"messages"`
	Warmup           int     `json:"warmup"`
	Concurrency      int     `json:"concurrency"`
	Size             int     `json:"size"`
	Topics           int     `json:"topics"`
	Mpub             *int    `json:"mpub"`
	Ok               int     `json:"ok"`
	Failed           int     `json:"failed"`
	Duration         float64 `json:"duration_s"`
	took             time.Duration
}

func main() {
	flag.Parse()
	if *warmup < 0 {
		*warmup = *messages / 10
	}
	switch {
	case flag.NArg() > 0:
		wrong("unknown argument %q", flag.Arg(0))
	case *topic == "":
		wrong("-topic is missing")
	case *size < 1 || *concurrency < 1 || *messages < 1 || *topics < 1 || *mpub < 0:
		wrong("a number is too small")
	case *topics > *concurrency:
		wrong("-topics is more than -concurrency")
	}

	bodies, err := readBodies()
	if err != nil {
		wrong("-bodies: %v", err)
	}
	producer, err := nsq.NewProducer(*address, config)
	if err != nil {
		fail(err)
	}
	producer.SetLoggerLevel(nsq.LogLevelError)
	if err := producer.Ping(); err != nil {
		fail(err)
	}
	warm := publish(producer, bodies, *warmup)
	if warm.Failed > 0 {
		os.Exit(1)
	}
	measured := publish(producer, bodies, *messages)
	producer.Stop()
	tell(measured)
	if measured.Ok < *messages {
		os.Exit(1)
	}
}

// readBodies returns what the messages hold, in turn: the lines of a file, or one of the size asked for. The size is then the
// mean one.
func readBodies() ([][]byte, error) {
	if *bodiesFile == "" {
		body := make([]byte, *size)
		for i := range body {
			body[i] = byte(i % 251)
		}
		return [][]byte{body}, nil
	}
	text, err := os.ReadFile(*bodiesFile)
	if err != nil {
		return nil, err
	}
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	whole := 0
	for _, line := range lines {
		if len(line) == 0 {
			return nil, errors.New("a line is empty, and nsqd takes no empty message")
		}
		whole += len(line)
	}
	*size = whole / len(lines)
	return lines, nil
}

// publish publishes so many messages, each awaited, and returns what was measured.
func publish(producer *nsq.Producer, bodies [][]byte, count int) report {
	batch := 1
	if *mpub > 0 {
		batch = *mpub
	}
	commands := (count + batch - 1) / batch
	times := make([]time.Duration, commands)
	var next, published, failed int64
	var once sync.Once
	var group sync.WaitGroup
	begin := make(chan struct{})
	for caller := 0; caller < *concurrency; caller++ {
		name := topicName(caller % *topics)
		group.Add(1)
		go func() {
			defer group.Done()
			held := make([][]byte, 0, batch)
			ok := 0
			defer func() { atomic.AddInt64(&published, int64(ok)) }()
			<-begin
			now := time.Now()
			for {
				command := int(atomic.AddInt64(&next, 1)) - 1
				if command >= commands {
					return
				}
				held = held[:0]
				for message := command * batch; len(held) < batch && message < count; message++ {
					held = append(held, bodies[message%len(bodies)])
				}
				var err error
				if *mpub > 0 {
					err = producer.MultiPublish(name, held)
				} else {
					err = producer.Publish(name, held[0])
				}
				answered := time.Now()
				times[command] = answered.Sub(now)
				now = answered
				if err == nil {
					ok += len(held)
				} else {
					once.Do(func() { fmt.Fprintf(os.Stderr, "go-nsq: the first that failed: %v\n", err) })
					// As many failures as there are callers, and nobody goes on.
					if atomic.AddInt64(&failed, int64(len(held))) >= int64(*concurrency) {
						atomic.StoreInt64(&next, int64(commands))
					}
				}
			}
		}()
	}

	allocations, spent := mallocs(), processTime()
	began := time.Now()
	close(begin)
	group.Wait()
	took := time.Since(began)
	spent, allocations = processTime()-spent, mallocs()-allocations

	sort.Slice(times, func(a, b int) bool { return times[a] < times[b] })
	each := float64(count)
	if count == 0 {
		return report{}
	}
	r := report{
		Rate:             float64(published) / took.Seconds(),
		CPUPerMessage:    float64(spent.Nanoseconds()) / 1e3 / each,
		P50:              quantile(times, 0.5),
		P99:              quantile(times, 0.99),
		P999:             quantile(times, 0.999),
		Max:              quantile(times, 1),
		AllocsPerMessage: float64(allocations) / each,
		Messages:         count,
		Warmup:           *warmup,
		Concurrency:      *concurrency,
		Size:             *size,
		Topics:           *topics,
		Ok:               int(published),
		Failed:           int(failed),
		Duration:         took.Seconds(),
		took:             took,
	}
	if *mpub > 0 {
		r.Mpub = mpub
	}
	return r
}

// topicName is as in nsq_bench: what must stand at the end of a name stays there.
func topicName(number int) string {
	if *topics == 1 {
		return *topic
	}
	stem := strings.TrimSuffix(*topic, "#ephemeral")
	return fmt.Sprintf("%s_%d%s", stem, number, (*topic)[len(stem):])
}

func mallocs() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Mallocs
}

// processTime is what the processors have spent on this process, in user and in system mode.
func processTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// quantile is in microseconds; the times are sorted.
func quantile(times []time.Duration, share float64) float64 {
	place := int(share * float64(len(times)))
	if place >= len(times) {
		place = len(times) - 1
	}
	return float64(times[place].Nanoseconds()) / 1e3
}

func tell(r report) {
	fmt.Printf("duration: %s - %.03fmb/s - %.03fops/s - %.03fus/op\n",
		r.took, r.Rate*float64(*size)/1024/1024, r.Rate, 1e6/r.Rate)
	if *asJSON {
		line, err := json.Marshal(r)
		if err != nil {
			fail(err)
		}
		fmt.Println(string(line))
	}
}

func fail(err error) {
	fmt.Fprintf(os.Stderr, "go-nsq: %v\n", err)
	os.Exit(1)
}

func wrong(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, "go-nsq: "+format+"\n", args...)
	os.Exit(2)
}
