package main

import (
	"context"
	"errors"
	"fmt"

	"carrick/peer/line"

	"github.com/IBM/sarama"
)

type adminOp func(sarama.ClusterAdmin, *line.Request, line.Answer) error

func withAdmin(op adminOp) line.Op {
	return func(_ context.Context, q *line.Request, a line.Answer) error {
		admin, err := sarama.NewClusterAdmin([]string{q.Bootstrap}, config(q))
		if err != nil {
			return err
		}
		defer admin.Close()
		return op(admin, q, a)
	}
}

var adminOps = map[string]adminOp{
	"create_topic": func(admin sarama.ClusterAdmin, q *line.Request, _ line.Answer) error {
		configs := map[string]*string{}
		for name, value := range q.Configs {
			configs[name] = &value
		}
		detail := &sarama.TopicDetail{NumPartitions: max(1, q.Partitions), ReplicationFactor: 1, ConfigEntries: configs}
		return admin.CreateTopic(q.Topic, detail, false)
	},
	"describe_topic": func(admin sarama.ClusterAdmin, q *line.Request, a line.Answer) error {
		topics, err := admin.DescribeTopics([]string{q.Topic})
		if err != nil {
			return err
		}
		a["partitions"] = len(topics[0].Partitions)
		return known(topics[0].Err)
	},
	"create_partitions": func(admin sarama.ClusterAdmin, q *line.Request, _ line.Answer) error {
		return admin.CreatePartitions(q.Topic, int32(q.Total), nil, false)
	},
	"delete_topic": func(admin sarama.ClusterAdmin, q *line.Request, _ line.Answer) error {
		return admin.DeleteTopic(q.Topic)
	},
	"describe_configs": func(admin sarama.ClusterAdmin, q *line.Request, a line.Answer) error {
		entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: q.Topic})
		configs := map[string]string{}
		for _, entry := range entries {
			configs[entry.Name] = entry.Value
		}
		a["configs"] = configs
		return err
	},
	"alter_configs": func(admin sarama.ClusterAdmin, q *line.Request, _ line.Answer) error {
		changes := map[string]sarama.IncrementalAlterConfigsEntry{}
		for name, value := range q.Configs {
			changes[name] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
		}
		return admin.IncrementalAlterConfig(sarama.TopicResource, q.Topic, changes, false)
	},
	"list_groups": func(admin sarama.ClusterAdmin, _ *line.Request, a line.Answer) error {
		listed, err := admin.ListConsumerGroups()
		groups := []string{}
		for group := range listed {
			groups = append(groups, group)
		}
		a["groups"] = groups
		return err
	},
	"describe_group": func(admin sarama.ClusterAdmin, q *line.Request, a line.Answer) error {
		groups, err := admin.DescribeConsumerGroups([]string{q.Group})
		if err != nil {
			return err
		}
		a["state"], a["members"] = groups[0].State, len(groups[0].Members)
		return known(groups[0].Err)
	},
	"delete_group": func(admin sarama.ClusterAdmin, q *line.Request, _ line.Answer) error {
		return admin.DeleteConsumerGroup(q.Group)
	},
	"group_offsets": func(admin sarama.ClusterAdmin, q *line.Request, a line.Answer) error {
		found, err := admin.ListConsumerGroupOffsets(q.Group, nil)
		if err != nil {
			return err
		}
		offsets := map[string]int64{}
		for topic, partitions := range found.Blocks {
			for partition, block := range partitions {
				offsets[fmt.Sprintf("%s-%d", topic, partition)] = block.Offset
			}
		}
		a["offsets"] = offsets
		return known(found.Err)
	},
	"alter_offsets": func(admin sarama.ClusterAdmin, q *line.Request, _ line.Answer) error {
		to := map[int32]sarama.OffsetAndMetadata{q.Partition: {Offset: q.Offset, Metadata: q.Metadata, LeaderEpoch: -1}}
		answer, err := admin.AlterConsumerGroupOffsets(q.Group, map[string]map[int32]sarama.OffsetAndMetadata{q.Topic: to}, nil)
		if err != nil {
			return err
		}
		for _, partitions := range answer.Errors {
			for _, code := range partitions {
				err = errors.Join(err, known(code))
			}
		}
		return err
	},
}

func known(code sarama.KError) error {
	if code == sarama.ErrNoError {
		return nil
	}
	return code
}
