package main

import (
	"context"
	"fmt"

	"carrick/peer/line"

	"github.com/segmentio/kafka-go"
)

type adminOp func(context.Context, *kafka.Client, *line.Request, line.Answer) error

var adminOps = map[string]adminOp{
	"create_topic":      createTopic,
	"describe_topic":    describeTopic,
	"create_partitions": createPartitions,
	"delete_topic":      deleteTopic,
	"describe_configs":  describeConfigs,
	"alter_configs":     alterConfigs,
	"list_groups":       listGroups,
	"describe_group":    describeGroup,
	"delete_group":      deleteGroup,
	"group_offsets":     groupOffsets,
	"alter_offsets":     commit,
	"commit":            commit,
	"committed":         committed,
}

func createTopic(ctx context.Context, c *kafka.Client, q *line.Request, _ line.Answer) error {
	topic := kafka.TopicConfig{Topic: q.Topic, NumPartitions: int(max(1, q.Partitions)), ReplicationFactor: 1}
	for name, value := range q.Configs {
		topic.ConfigEntries = append(topic.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	answer, err := c.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
	if err == nil {
		err = answer.Errors[q.Topic]
	}
	return err
}

func describeTopic(ctx context.Context, c *kafka.Client, q *line.Request, a line.Answer) error {
	answer, err := c.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{q.Topic}})
	if err != nil {
		return err
	}
	a["partitions"] = len(answer.Topics[0].Partitions)
	return answer.Topics[0].Error
}

func createPartitions(ctx context.Context, c *kafka.Client, q *line.Request, _ line.Answer) error {
	topics := []kafka.TopicPartitionsConfig{{Name: q.Topic, Count: int32(q.Total)}}
	answer, err := c.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: topics})
	if err == nil {
		err = answer.Errors[q.Topic]
	}
	return err
}

func deleteTopic(ctx context.Context, c *kafka.Client, q *line.Request, _ line.Answer) error {
	answer, err := c.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{q.Topic}})
	if err == nil {
		err = answer.Errors[q.Topic]
	}
	return err
}

func describeConfigs(ctx context.Context, c *kafka.Client, q *line.Request, a line.Answer) error {
	resource := kafka.DescribeConfigRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: q.Topic}
	answer, err := c.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{resource}})
	if err != nil {
		return err
	}
	configs := map[string]string{}
	for _, entry := range answer.Resources[0].ConfigEntries {
		configs[entry.ConfigName] = entry.ConfigValue
	}
	a["configs"] = configs
	return answer.Resources[0].Error
}

func alterConfigs(ctx context.Context, c *kafka.Client, q *line.Request, _ line.Answer) error {
	resource := kafka.IncrementalAlterConfigsRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: q.Topic}
	for name, value := range q.Configs {
		change := kafka.IncrementalAlterConfigsRequestConfig{Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet}
		resource.Configs = append(resource.Configs, change)
	}
	resources := []kafka.IncrementalAlterConfigsRequestResource{resource}
	answer, err := c.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: resources})
	if err != nil {
		return err
	}
	return answer.Resources[0].Error
}

func listGroups(ctx context.Context, c *kafka.Client, _ *line.Request, a line.Answer) error {
	answer, err := c.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return err
	}
	groups := []string{}
	for _, group := range answer.Groups {
		groups = append(groups, group.GroupID)
	}
	a["groups"] = groups
	return answer.Error
}

func describeGroup(ctx context.Context, c *kafka.Client, q *line.Request, a line.Answer) error {
	answer, err := c.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{q.Group}})
	if err != nil {
		return err
	}
	a["state"], a["members"] = answer.Groups[0].GroupState, len(answer.Groups[0].Members)
	return answer.Groups[0].Error
}

func deleteGroup(ctx context.Context, c *kafka.Client, q *line.Request, _ line.Answer) error {
	answer, err := c.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{q.Group}})
	if err == nil {
		err = answer.Errors[q.Group]
	}
	return err
}

func groupOffsets(ctx context.Context, c *kafka.Client, q *line.Request, a line.Answer) error {
	answer, err := c.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: q.Group})
	if err != nil {
		return err
	}
	offsets := map[string]int64{}
	for topic, partitions := range answer.Topics {
		for _, p := range partitions {
			offsets[fmt.Sprintf("%s-%d", topic, p.Partition)] = p.CommittedOffset
		}
	}
	a["offsets"] = offsets
	return answer.Error
}

func commit(ctx context.Context, c *kafka.Client, q *line.Request, _ line.Answer) error {
	offset := kafka.OffsetCommit{Partition: int(q.Partition), Offset: q.Offset, Metadata: q.Metadata}
	answer, err := c.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID: q.Group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{q.Topic: {offset}},
	})
	if err != nil {
		return err
	}
	return answer.Topics[q.Topic][0].Error
}

func committed(ctx context.Context, c *kafka.Client, q *line.Request, a line.Answer) error {
	wanted := map[string][]int{q.Topic: {int(q.Partition)}}
	answer, err := c.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: q.Group, Topics: wanted})
	if err != nil {
		return err
	}
	found := answer.Topics[q.Topic][0]
	a["offset"], a["metadata"] = found.CommittedOffset, found.Metadata
	return found.Error
}
