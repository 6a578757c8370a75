// Command client publishes numbered messages with go-nsq, consumes them, requeues some and lets some
// time out. It exits with code 0 only if every message was received and finished.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"
)

const (
	publishers = 8
	batch      = 100
	// Every 50th message is requeued, and every 400th times out.
	requeueEvery = 50
	timeOutEvery = 400
	msgTimeout   = time.Second
)

var (
	address  = flag.String("nsqd-tcp-address", "127.0.0.1:4150", "nsqd to publish to and consume from")
	topic    = flag.String("topic", "go-nsq", "topic to publish to")
	channel  = flag.String("channel", "go", "channel to consume from")
	count    = flag.Int("count", 10000, "number of messages")
	deadline = flag.Duration("deadline", 50*time.Second, "maximum time to consume all messages")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run() error {
	consumer, handler, err := consume()
	if err != nil {
		return fmt.Errorf("consuming: %w", err)
	}
	if err := publish(); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	select {
	case <-handler.done:
	case <-time.After(*deadline):
		return fmt.Errorf("deadline exceeded: %s", handler.report())
	}
	consumer.Stop()
	select {
	case <-consumer.StopChan:
	case <-time.After(10 * time.Second):
		return fmt.Errorf("consumer does not stop: %s", handler.report())
	}
	fmt.Println(handler.report())
	return handler.check()
}

// publish sends the even numbers with PUB from several goroutines, and the odd ones with MPUB.
func publish() error {
	producer, err := nsq.NewProducer(*address, nsq.NewConfig())
	if err != nil {
		return err
	}
	defer producer.Stop()
	producer.SetLogger(logger, nsq.LogLevelWarning)
	if err := producer.Ping(); err != nil {
		return err
	}
	failures := make(chan error, publishers+1)
	for p := 0; p < publishers; p++ {
		go func(p int) {
			for n := 2 * p; n < *count; n += 2 * publishers {
				if err := producer.Publish(*topic, []byte(strconv.Itoa(n))); err != nil {
					failures <- fmt.Errorf("message %d: %w", n, err)
					return
				}
			}
			failures <- nil
		}(p)
	}
	go func() {
		var bodies [][]byte
		for n := 1; n < *count; n += 2 {
			bodies = append(bodies, []byte(strconv.Itoa(n)))
			if len(bodies) == batch || n+2 >= *count {
				if err := producer.MultiPublish(*topic, bodies); err != nil {
					failures <- fmt.Errorf("batch up to %d: %w", n, err)
					return
				}
				bodies = nil
			}
		}
		failures <- nil
	}()
	for p := 0; p < publishers+1; p++ {
		if err := <-failures; err != nil {
			return err
		}
	}
	return nil
}

func consume() (*nsq.Consumer, *handler, error) {
	config := nsq.NewConfig()
	config.MsgTimeout = msgTimeout
	config.MaxInFlight = 50
	consumer, err := nsq.NewConsumer(*topic, *channel, config)
	if err != nil {
		return nil, nil, err
	}
	// Errors of messages that have timed out are expected, and would be logged.
	consumer.SetLogger(logger, nsq.LogLevelMax)
	h := &handler{
		finished: make(map[int]bool),
		kept:     make(map[int]*nsq.Message),
		done:     make(chan struct{}),
	}
	consumer.AddConcurrentHandlers(h, 4)
	return consumer, h, consumer.ConnectToNSQD(*address)
}

var logger = log.New(os.Stderr, "", log.Lmicroseconds)

// handler counts messages. It answers every message itself.
type handler struct {
	sync.Mutex
	finished map[int]bool
	// Messages that were left to time out.
	kept     map[int]*nsq.Message
	requeued int
	timedOut int
	// Messages that timed out unexpectedly, because the machine was too slow.
	unexpected int
	done       chan struct{}
	once       sync.Once
	problems   []string
}

func (h *handler) HandleMessage(m *nsq.Message) error {
	h.Lock()
	defer h.Unlock()
	m.DisableAutoResponse()
	n, err := strconv.Atoi(string(m.Body))
	if err != nil || n < 0 || n >= *count {
		h.problem("unknown body: %q", m.Body)
		m.Finish()
		return nil
	}
	requeues, timesOut := n%requeueEvery == 0, n%timeOutEvery == 2
	switch {
	case requeues && m.Attempts == 1:
		h.requeued++
		m.RequeueWithoutBackoff(0)
		return nil
	case timesOut && m.Attempts == 1:
		h.timedOut++
		h.kept[n] = m
		return nil
	case (requeues || timesOut) && m.Attempts != 2, !requeues && !timesOut && m.Attempts != 1:
		h.unexpected++
	}
	m.Finish()
	if first := h.kept[n]; first != nil {
		// Too late: go-nsq logs E_FIN_FAILED, continues, and has nothing in flight.
		first.Finish()
		delete(h.kept, n)
	}
	h.finished[n] = true
	if len(h.finished) == *count {
		h.once.Do(func() { close(h.done) })
	}
	return nil
}

func (h *handler) problem(format string, arguments ...interface{}) {
	h.problems = append(h.problems, fmt.Sprintf(format, arguments...))
}

func (h *handler) report() string {
	h.Lock()
	defer h.Unlock()
	return fmt.Sprintf("finished %d of %d, requeued %d, timed out %d, %d unexpectedly",
		len(h.finished), *count, h.requeued, h.timedOut, h.unexpected)
}

func (h *handler) check() error {
	h.Lock()
	defer h.Unlock()
	if len(h.problems) > 0 {
		return fmt.Errorf("%d problems: %v", len(h.problems), h.problems)
	}
	if h.unexpected > *count/100 {
		return fmt.Errorf("%d messages had an unexpected number of attempts", h.unexpected)
	}
	if h.requeued == 0 || h.timedOut == 0 {
		return fmt.Errorf("no message was requeued or none timed out")
	}
	return nil
}
